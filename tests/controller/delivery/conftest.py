"""A real broker on loopback without TLS, links to it, and a real database."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from litefleet_controller.delivery.interface import Incoming, Link
from litefleet_controller.delivery.link import BrokerAddress, LinkOptions
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.identity.signing import Ed25519Signer
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects

_DEADLINE_S = 10.0


async def until(condition: Callable[[], object], what: str, deadline_s: float = _DEADLINE_S) -> None:
    """Wait for a condition, or fail by name."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"never happened: {what}"
        await asyncio.sleep(0.01)


class PlainBroker:
    """A mosquitto without TLS, policy or persistence: killed, it has forgotten everything."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._config = directory / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n"
            "max_inflight_messages 20\nmax_queued_messages 20000\nset_tcp_nodelay true\nlog_type error\n"
        )
        self._program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/mosquitto"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress("127.0.0.1", self.port)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PlainBroker]:
    broker = PlainBroker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


OpenLink = Callable[..., Awaitable[MqttLink]]


@pytest.fixture
async def open_link(broker: PlainBroker) -> AsyncIterator[OpenLink]:
    """Opens links that are connected when they are handed out, and stops them at the end."""
    links: list[MqttLink] = []

    async def open_link(name: str, **options: object) -> MqttLink:
        link = MqttLink(broker.address, name, LinkOptions(backoff_s=(0.02, 0.2), **options), jitter=lambda: 0.0)  # type: ignore[arg-type]
        links.append(link)
        await link.start()
        await until(lambda: link.state.value.connected, f"{name} connects")
        return link

    yield open_link
    for link in links:
        await link.stop()


class Mailbox:
    """Everything that a link receives, in order."""

    def __init__(self, link: Link) -> None:
        self.messages: list[Incoming] = []
        self._task = asyncio.create_task(self._read(link))

    async def _read(self, link: Link) -> None:
        async for message in link.messages():
            self.messages.append(message)

    def on(self, topic: str) -> list[bytes]:
        return [m.payload for m in self.messages if m.topic == topic]


@pytest.fixture
def signer() -> Ed25519Signer:
    return Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}")
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def objects(database: Database) -> AsyncIterator[SqlObjects]:
    uids = count(1)
    objects = SqlObjects(
        database, Registry(), clock=lambda: datetime.now(UTC), uid=lambda: f"uid-{next(uids)}", poll_s=0.1
    )
    yield objects
    await objects.aclose()


def device_body(name: str, device_class: str = "rpi-4", namespace: str = "default") -> dict[str, object]:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"class": device_class},
    }
