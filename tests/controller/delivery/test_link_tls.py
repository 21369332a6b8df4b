"""The parts together on the embedded broker: mutual TLS, the real policy, a board that joins while it runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from litefleet_controller.delivery.broker import EmbeddedBroker
from litefleet_controller.delivery.errors import RefusedError
from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.link import BrokerAddress, LinkOptions, client_tls
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.delivery.policy import RESPONSE_TOPIC, BrokerPolicy
from litefleet_controller.identity.authority import Authority
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Presence
from litefleet_protocol.topics import Down, Up
from tests.controller.delivery.conftest import Mailbox, until
from tests.controller.delivery.test_ingest import Kept

NOW = datetime.now(UTC)


@dataclass
class Fleet:
    directory: Path
    authority: Authority
    policy: BrokerPolicy
    host: str
    port: int
    links: list[MqttLink]

    async def link(self, name: str, *, connects: bool = True) -> MqttLink:
        if name.startswith("controller-"):
            certificate, key = self.authority.client_certificate(name, NOW)
        else:
            certificate, key = _signed(self.authority, name)
        ca = self.directory / "ca.pem"
        ca.write_text(self.authority.ca_pem)
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_text(certificate)
        paths[1].write_text(key)
        address = BrokerAddress(self.host, self.port, client_tls(ca, *paths))
        link = MqttLink(address, name, LinkOptions(backoff_s=(0.02, 0.2)))
        self.links.append(link)
        await link.start()
        if connects:
            await until(lambda: link.state.value.connected, f"{name} connects")
        return link


def _signed(authority: Authority, name: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return authority.sign_csr(csr.public_bytes(Encoding.PEM).decode(), name, NOW), pem


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    authority = Authority.open(tmp_path / "authority")
    policy = BrokerPolicy(["controller-1"])
    broker = EmbeddedBroker(tmp_path / "broker", authority, policy)
    host, port = await broker.start()
    fleet = Fleet(tmp_path, authority, policy, host, port, [])
    yield fleet
    for link in fleet.links:
        await link.stop()
    await broker.stop()


async def test_a_board_that_joins_is_let_in_heard_and_reached(fleet: Fleet) -> None:
    controller = await fleet.link("controller-1")
    kept = Kept()
    ingest = Ingest(controller, "fleet", Sinks(kept, kept, kept, kept, {RESPONSE_TOPIC: fleet.policy.answered}))
    reading = asyncio.create_task(ingest.run())
    await until(lambda: RESPONSE_TOPIC in controller._topics, "it subscribes")
    fleet.policy.attach(controller.publish)
    await fleet.policy.grant("board-1", "default")
    board = await fleet.link("board-1")
    box = Mailbox(board)
    await board.subscribe(topics.down("board-1", Down.DESIRED))
    await board.publish(topics.up("board-1", Up.PRESENCE), codec.encode(Presence(online=True, connection="c")))
    await until(lambda: kept.got, "the board is heard")
    await asyncio.gather(
        *(controller.publish(topics.down("board-1", Down.DESIRED), bytes([n]) * 60_000) for n in range(40))
    )
    await until(lambda: len(box.messages) == 40, "all of 2.4 MB reach the board")
    assert [m.payload for m in box.messages] == [bytes([n]) * 60_000 for n in range(40)]
    reading.cancel()


async def test_what_the_policy_forbids_is_refused_and_the_link_stays(fleet: Fleet) -> None:
    fleet.policy.attach((await _heard(fleet)).publish)
    await fleet.policy.grant("board-1", "default")
    board = await fleet.link("board-1")
    with pytest.raises(RefusedError):
        await board.publish(topics.up("board-2", Up.PRESENCE), b"x")
    with pytest.raises(RefusedError):
        await board.subscribe(topics.ALL_UP)
    assert board.state.value.connected


async def _heard(fleet: Fleet) -> MqttLink:
    controller = await fleet.link("controller-1")

    async def read() -> None:
        async for message in controller.messages():
            fleet.policy.answered(message.payload)

    await controller.subscribe(RESPONSE_TOPIC)
    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda done: done.cancelled() or done.exception())
    return controller


async def test_a_broker_with_another_ca_is_not_spoken_to(fleet: Fleet, tmp_path: Path) -> None:
    other = Authority.open(tmp_path / "other")
    stranger = Fleet(tmp_path, other, fleet.policy, fleet.host, fleet.port, fleet.links)
    link = await stranger.link("controller-1", connects=False)
    await until(lambda: link.failures >= 2, "it tries")
    assert not link.state.value.connected
