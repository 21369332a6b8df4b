"""The real parts under fleet/: SQLite, the CA, tokens, blobs in a folder. Only the clock and the ids are ours."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.fleet.enroll import BrokerAddress, Enrollment, EnrollmentPorts
from litefleet_controller.fleet.verbs import Verbs
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.tokens import EnrollmentTokens
from litefleet_controller.resources.meta import API_VERSION
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects
from litefleet_protocol.enrollment import EnrollRequest, decode_token

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Json = dict[str, Any]


@dataclass
class Clock:
    """Moves when told."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Fleet:
    """Everything that a test of fleet/ may touch."""

    clock: Clock
    objects: SqlObjects
    blobs: DirectoryBlobs
    enrollment: Enrollment
    verbs: Verbs
    granted: list[tuple[str, str]] = field(default_factory=list)
    refuse_grants: bool = False

    async def token(self, namespace: str = "default") -> str:
        text = await self.enrollment.create_token(
            namespace, ttl_s=3600, url="https://fleet.example:7443", by="ada", now=self.clock()
        )
        return decode_token(text).secret

    async def add_class(self, name: str = "rpi-4", namespace: str = "default") -> None:
        await self.create("DeviceClass", name, {"variants": ["int8"]}, namespace)

    async def create(self, kind: str, name: str, spec: Json, namespace: str = "default") -> None:
        metadata = {"name": name, "namespace": namespace}
        await self.objects.create({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    clock = Clock()
    uids = itertools.count(1)
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db.sqlite'}")
    await database.migrate()
    objects = SqlObjects(database, Registry(), clock=clock, uid=lambda: f"uid-{next(uids)}")

    async def grant(device: str, namespace: str) -> None:
        if made.refuse_grants:
            raise ConnectionError("the broker is away")
        made.granted.append((device, namespace))

    authority = Authority.open(tmp_path / "authority")
    ports = EnrollmentPorts(EnrollmentTokens(database.sessions), authority, objects, grant)
    requests = itertools.count(1)
    made = Fleet(
        clock,
        objects,
        DirectoryBlobs(tmp_path / "blobs"),
        Enrollment(ports, BrokerAddress("broker.example", 8883)),
        Verbs(objects, lambda: f"r{next(requests)}"),
    )
    yield made
    await objects.aclose()
    await database.close()


@dataclass
class Board:
    """A board's key, and requests made with it."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def request(self, secret: str, device_class: str = "rpi-4", **labels: str) -> EnrollRequest:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.key, hashes.SHA256())
        return EnrollRequest(
            secret=secret,
            device=self.name,
            device_class=device_class,
            csr=csr.public_bytes(Encoding.PEM).decode(),
            labels=labels,
        )
