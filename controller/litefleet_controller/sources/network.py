"""Connections that go only where they may. Each is checked when it is made, against the address that it is made to.

Checking a name beforehand would be no check: a name server may answer otherwise a moment later (DNS rebinding). So the
name is looked up once, its addresses are judged, and the connection goes to one of those, while TLS still proves the
name. Proxies from the environment are not used: one would make the connections instead.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore

from litefleet_controller.sources.interface import SourceError
from litefleet_controller.sources.policy import SourcePolicy

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> its addresses, the best first. OSError when there is none."""


async def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says.

    Raises: OSError.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Implements httpcore's port to the network."""

    def __init__(self, policy: SourcePolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an address of `host` that is allowed.

        Raises:
            SourceError: `AddressNotAllowed`, or `Unreachable` when the name isn't known.
            httpcore.ConnectError, httpcore.ConnectTimeout.
        """
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._allowed(host, port, timeout):
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failure = e
        raise failure

    async def _allowed(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as e:
            # A name server that is away for a minute says the same as one that doesn't know the name.
            raise SourceError("Unreachable", f"the host {host} can't be looked up ({_said(e)})", is_passing=True) from e
        allowed = [a for a in addresses if self._policy.allows_address(host, port, ipaddress.ip_address(_bare(a)))]
        if not allowed:
            raise SourceError(
                "AddressNotAllowed",
                f"{host} is at {', '.join(addresses[:4])}, where this controller doesn't connect for it",
                hint=f"if that is meant, start the controller with --source-host {addresses[0]} as well"
                if addresses
                else "",
            )
        return allowed

    async def sleep(self, seconds: float) -> None:
        """Httpcore's pause between tries of its own."""
        await asyncio.sleep(seconds)


def tls_context(policy: SourcePolicy) -> ssl.SSLContext:
    """The system's certificates, and the operator's. Reads files.

    Raises: OSError, ssl.SSLError when the operator's can't be read.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not any((paths.cafile, paths.capath)):
        import certifi  # a container without certificates of its own

        context.load_verify_locations(certifi.where())
    if policy.ca_file is not None:
        context.load_verify_locations(policy.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bare(address: str) -> str:
    """Without the zone of a link-local one."""
    return address.partition("%")[0]


def _said(error: OSError | UnicodeError) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:120]
