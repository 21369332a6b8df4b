"""The embedded broker: a mosquitto that lives and dies with the controller.

Only how it is run: configuration, certificates, port, restarts. Who may do what in it is policy.py's. A fleet with a
broker of its own doesn't start this. Called by app/.

Three choices:
- It dies with the controller, even when that is killed (broker_process.py says how).
- It is in a session of its own, so that Ctrl-C reaches the controller alone, which then stops it in order.
- Started by root it stays root (`user root`): since 2.0 mosquitto gives up root before it reads its files, so the
  user `mosquitto` couldn't read keys of mode 0600 below a private folder, and changing users clears PDEATHSIG.
  Whoever wants less privilege runs the controller as another user, which is the way for production anyway.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from litefleet_controller.delivery.backoff import Backoff
from litefleet_controller.delivery.broker_config import BrokerFiles, broker_config, check_addresses
from litefleet_controller.delivery.broker_process import MosquittoProcess
from litefleet_controller.delivery.broker_program import BrokerError, BrokerProgram, find_program
from litefleet_controller.delivery.policy import BrokerPolicy
from litefleet_controller.fileio import write_private
from litefleet_controller.identity.authority import Authority

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 15.0
PORT_PATIENCE_S = 5.0
"""How long a port may still be held by the mosquitto of a controller that was killed a moment ago."""
STEADY_S = 5.0
"""Running this long, it wasn't its start that failed: the next restart is as quick as the first."""


class BrokerPortError(BrokerError):
    """The port is taken, or the file that remembers it is damaged."""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Where it listens, and how patient its supervisor is."""

    hosts: Sequence[str] = ("localhost", "127.0.0.1")
    """Names and addresses under which devices reach it. All stand in its certificate; devices are told the first."""
    bind: Sequence[str] = ("127.0.0.1",)
    """IP addresses to listen on."""
    port: int = 0
    """0: the port of the last time, or a free one."""
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0


class EmbeddedBroker:
    """Runs mosquitto with mutual TLS, and starts it again when it dies. All it writes is in its directory."""

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        policy: BrokerPolicy,
        options: BrokerOptions = BrokerOptions(),
        *,
        program: BrokerProgram | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = BrokerFiles(directory.absolute())
        self._authority = authority
        self._policy = policy
        self._options = options
        self._program = program
        self._clock = clock
        self._process: MosquittoProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the mosquitto that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> tuple[str, int]:
        """Start it, and return when it accepts connections: the host and port that devices are told.

        Raises:
            BrokerError: mosquitto is missing (BrokerMissingError), its port is taken (BrokerPortError), it can't
                write its folder, or it ends at once.
            HostError: a host that can't stand in a certificate.
        """
        program = self._program or find_program(os.environ)
        check_addresses(self._options.bind)
        try:
            self._files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            port = await self._reserve_port()
            self._write_files(program, port)
            self._process = await self._launch_over_damage(program)
        except OSError as e:
            raise BrokerError(f"can't start the broker in {self._files.directory}: {e.strerror or e}") from e
        self._supervisor = asyncio.create_task(self._supervise(program), name="broker")
        return self._options.hosts[0], port

    async def stop(self) -> None:
        """Stop it; retained messages are saved. Does nothing when it doesn't run."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def _reserve_port(self) -> int:
        port = self._options.port or _remembered(self._files.port)
        if port is None:
            port = _free_port(self._options.bind)
        deadline = time.monotonic() + PORT_PATIENCE_S
        while (taken := _taken(self._options.bind, port)) is not None:
            if time.monotonic() > deadline:
                raise BrokerPortError(
                    f"the broker's port {port} on {taken} is taken or may not be used. Devices know this port: end the "
                    f"program that holds it, or choose another one (and remove {self._files.port})"
                )
            await asyncio.sleep(0.1)
        write_private(self._files.port, f"{port}\n".encode())
        return port

    def _write_files(self, program: BrokerProgram, port: int) -> None:
        certificate, key = self._authority.server_certificate("broker", self._options.hosts, self._clock())
        as_root = os.geteuid() == 0
        config = broker_config(self._files, program.plugin, self._options.bind, port, stay_root=as_root)
        write_private(self._files.ca, self._authority.ca_pem.encode())
        write_private(self._files.certificate, certificate.encode())
        write_private(self._files.key, key.encode())
        write_private(self._files.config, config.encode())

    async def _launch_over_damage(self, program: BrokerProgram) -> MosquittoProcess:
        try:
            return await self._launch(program)
        except BrokerError as e:
            if not self._files.retained.exists():
                raise
            # The likeliest reason by far is a damaged database, which is only a cache.
            aside = self._files.retained.with_suffix(".damaged")
            log.warning("broker.database_set_aside", reason=str(e), moved_to=str(aside))
            self._files.retained.replace(aside)
            return await self._launch(program)

    async def _launch(self, program: BrokerProgram) -> MosquittoProcess:
        write_private(self._files.policy, self._policy.document())
        process = await MosquittoProcess.spawn(program, self._files.config)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await process.ready()
                await self._answers()
        except BaseException as e:
            await process.stop()
            if isinstance(e, TimeoutError):
                raise BrokerError(f"mosquitto doesn't come up: {process.last_words()}") from e
            raise
        log.info("broker.started", pid=process.pid)
        return process

    async def _answers(self) -> None:
        """Return when it takes part in a TLS handshake.

        Its own word isn't enough: a SIGTERM in the first milliseconds after "running" is lost in mosquitto 2.0, which
        sets its flag to run only then.
        """
        context = ssl.create_default_context(cadata=self._authority.ca_pem)
        address, port = self._options.bind[0], _remembered(self._files.port)
        try:
            _, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=self._options.hosts[0]
            )
        except OSError as e:
            raise BrokerError(f"mosquitto doesn't answer on {address}, port {port}: {e}") from e
        writer.transport.abort()

    async def _supervise(self, program: BrokerProgram) -> None:
        backoff = Backoff(self._options.first_delay_s, self._options.longest_delay_s, STEADY_S)
        delay_s = 0.0
        while True:
            if self._process is not None:
                since = time.monotonic()
                code = await self._process.ended()
                delay_s = backoff.ended(delay_s, time.monotonic() - since)
                log.error("broker.died", code=code, last=self._process.last_words(), restart_in_s=delay_s)
                self._process = None
            await asyncio.sleep(delay_s)
            try:
                self._process = await self._launch_over_damage(program)
            except (BrokerError, OSError) as e:
                delay_s = backoff.failed(delay_s)
                log.error("broker.restart_failed", reason=str(e), again_in_s=delay_s)  # noqa: TRY400 - no traceback


def _remembered(path: Path) -> int | None:
    if not path.exists():
        return None
    text = path.read_text().strip()
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise BrokerPortError(
            f"{path} holds {text[:20]!r}, which is no port: write the port there that devices know, or remove the file"
        )
    return int(text)


def _free_port(addresses: Sequence[str]) -> int:
    for _ in range(50):
        with _socket(addresses[0]) as probe:
            probe.bind((addresses[0], 0))
            port = int(probe.getsockname()[1])
        if _taken(addresses, port) is None:
            return port
    raise BrokerPortError(f"no port is free on all of {', '.join(addresses)}")


def _taken(addresses: Sequence[str], port: int) -> str | None:
    """The first address on which `port` can't be had."""
    for address in addresses:
        try:
            with _socket(address) as probe:
                probe.bind((address, port))
        except OSError:
            return address
    return None


def _socket(address: str) -> socket.socket:
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return probe
