"""The controller's side of delivery on its embedded broker, and boards in other processes that fetch from it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from litefleet_controller.delivery.artifacts import Artifact, ArtifactPublisher
from litefleet_controller.delivery.broker import EmbeddedBroker
from litefleet_controller.delivery.devices import DeviceRef
from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.link import BrokerAddress, client_tls
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.delivery.need import NeedAnswerer
from litefleet_controller.delivery.policy import BrokerPolicy
from litefleet_controller.identity.authority import Authority
from litefleet_protocol.messages import ArtifactManifest, Presence, Reported
from tests.agent.artifacts import Made
from tests.fetching_boards import NAMESPACE

_CONTROLLER = "controller-1"


class CountedLink(MqttLink):
    """The controller's link; counts PUBLISH packets."""

    published = 0

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        self.published += 1
        await super().publish(topic, payload, retain=retain, qos=qos)


class Shelf:
    """Artifacts in memory, all assigned to every board. Implements ArtifactSource and Devices."""

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}

    async def envelope(self, digest: str) -> bytes:
        return self.made[digest].envelope

    async def manifest(self, digest: str) -> ArtifactManifest:
        return self.made[digest].manifest

    async def chunk(self, digest: str, index: int) -> bytes:
        return self.made[digest].chunks[index]

    async def locate(self, device: str) -> DeviceRef | None:
        return DeviceRef(NAMESPACE, device, "c")

    async def in_use(self) -> set[Artifact]:
        return {(NAMESPACE, digest) for digest in self.made}


class Brokered:
    """A running broker with the controller's publisher on it."""

    def __init__(self, folder: Path, link: CountedLink, port: int) -> None:
        self.port = port
        self._folder = folder
        self.link = link
        self._shelf = Shelf()
        self._publisher = ArtifactPublisher(link, self._shelf)
        self.need = NeedAnswerer(self._publisher, self._shelf, self._shelf.in_use)
        self.ingest = Ingest(link, "", Sinks(_Deaf(), _Deaf(), self.need, self._publisher, {}))

    async def publish(self, made: Made) -> None:
        """As before an assignment: returns when the broker has all of it."""
        self._shelf.made[made.digest] = made
        await self._publisher.ensure(NAMESPACE, made.digest)

    @asynccontextmanager
    async def boards(self, names: Sequence[str], *, port: int | None = None) -> AsyncIterator["Fetching"]:
        """A process of connected boards."""
        job = json.dumps({"names": list(names), "folder": str(self._folder / "boards"), "port": port or self.port})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fetching_boards", job),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        fetching = Fetching(process)
        try:
            assert await fetching.line() == "ready"
            yield fetching
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Fetching:
    """A process of boards."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def fetch(self, digest: str) -> list[dict[str, Any]]:
        """What each board received until it had the artifact whole."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{digest}\n".encode())
        received: list[dict[str, Any]] = await self.line()
        assert not any(r["failed"] for r in received), received[0]
        return received

    async def line(self) -> Any:
        """The next thing that it says."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the boards' process ended"
        return json.loads(line)


@asynccontextmanager
async def brokered(folder: Path, names: Sequence[str]) -> AsyncIterator[Brokered]:
    """A broker as litefleet configures it, that knows these boards; their certificates are under `folder`."""
    now = datetime.now(UTC)
    authority = Authority.open(folder / "authority")
    for name in names:
        _enroll(authority, folder / "boards" / name, name, now)
    policy = BrokerPolicy([_CONTROLLER])
    policy.load((name, NAMESPACE) for name in names)
    broker = EmbeddedBroker(folder / "broker", authority, policy)
    _, port = await broker.start()
    try:
        files = _write(folder / "controller", authority.ca_pem, *authority.client_certificate(_CONTROLLER, now))
        link = CountedLink(BrokerAddress("127.0.0.1", port, client_tls(*files)), _CONTROLLER)
        await link.start()
        side = Brokered(folder, link, port)
        tasks = [asyncio.create_task(side.ingest.run()), asyncio.create_task(side.need.run())]
        async for state in link.state.values():
            if state.connected:
                break
        yield side
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.stop()
    finally:
        await broker.stop()


def _enroll(authority: Authority, folder: Path, name: str, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    certificate = authority.sign_csr(csr.public_bytes(Encoding.PEM).decode(), name, now)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    _write(folder, authority.ca_pem, certificate, private)


def _write(folder: Path, ca: str, certificate: str, key: str) -> tuple[Path, Path, Path]:
    """CA, certificate and key as files, in that order."""
    folder.mkdir(parents=True)
    files = folder / "ca.pem", folder / "certificate.pem", folder / "key.pem"
    for path, text in zip(files, (ca, certificate, key), strict=True):
        path.write_text(text)
    return files


class _Deaf:
    """Sinks for what isn't measured here."""

    def reported(self, device: str, reported: Reported) -> None:
        pass

    def presence(self, device: str, presence: Presence) -> None:
        pass

    def offer(self, device: str, payload: bytes) -> None:
        pass
