"""mosquitto.conf: the embedded broker's settings, each with the reason it is not the default. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.delivery.broker_program import BrokerError
from litefleet_protocol.limits import MAX_MANIFEST_BYTES

MAX_PACKET_BYTES = MAX_MANIFEST_BYTES + 64 * 1024
"""mosquitto 2.1's default of 2,000,000 would refuse the largest artifact manifest."""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """Everything the broker reads and writes, in one folder."""

    directory: Path

    @property
    def config(self) -> Path:
        """What it is started with."""
        return self.directory / "mosquitto.conf"

    @property
    def policy(self) -> Path:
        """The dynamic security plugin's file, which the plugin rewrites at each change."""
        return self.directory / "dynamic-security.json"

    @property
    def ca(self) -> Path:
        """The fleet CA's certificate."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The broker's own."""
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.directory / "server.key"

    @property
    def port(self) -> Path:
        """The port that enrolled devices know."""
        return self.directory / "port"

    @property
    def retained(self) -> Path:
        """The database of retained messages. A cache."""
        return self.directory / "mosquitto.db"


def broker_config(files: BrokerFiles, plugin: Path, addresses: Sequence[str], port: int, *, stay_root: bool) -> str:
    """The configuration for mosquitto 2.0 and later.

    `stay_root`: it is started by root and must not become the user `mosquitto` (broker.py says why).

    Raises:
        BrokerError: an address that is none, or a path with a line break in it.
    """
    check_addresses(addresses)
    lines = [
        *(["user root"] if stay_root else []),
        "per_listener_settings false",
        # Nobody without a client in the policy; no passwords anywhere.
        "allow_anonymous false",
        f"plugin {plugin}",
        f"plugin_opt_config_file {files.policy}",
        # The defaults drop QoS 1 messages silently beyond about 1,000 in a queue.
        "max_queued_messages 20000",
        "max_inflight_messages 20",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "set_tcp_nodelay true",
        # A restart then keeps the retained chunks, so that nobody needs to publish them again.
        "persistence true",
        f"persistence_location {files.directory}",
        f"persistence_file {files.retained.name}",
        "autosave_interval 300",
        "log_dest stderr",
        "log_timestamp false",
        "connection_messages true",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
        *(line for address in addresses for line in _listener(files, address, port)),
    ]
    if any("\n" in line or "\r" in line for line in lines):
        raise BrokerError(f"{str(files.directory)!r} or {str(plugin)!r} has a line break in it; use another folder")
    return "\n".join(lines) + "\n"


def check_addresses(addresses: Sequence[str]) -> None:
    """Refuse what mosquitto would take for a host name to look up, or for more configuration.

    Raises:
        BrokerError: none given, or one that is no IP address.
    """
    if not addresses:
        raise BrokerError("the broker needs at least one IP address to listen on, such as 127.0.0.1")
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError as e:
            raise BrokerError(f"{address[:80]!r} is no IP address for the broker to listen on") from e


def _listener(files: BrokerFiles, address: str, port: int) -> list[str]:
    return [
        f"listener {port} {address}",
        f"cafile {files.ca}",
        f"certfile {files.certificate}",
        f"keyfile {files.key}",
        "tls_version tlsv1.3",
        "require_certificate true",
        # The certificate's common name is the user, and the user is the client id: without the second line any
        # valid certificate could take over another client's connection.
        "use_identity_as_username true",
        "use_username_as_clientid true",
    ]
