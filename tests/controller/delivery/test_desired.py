"""Desired state on a real broker, from a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from litefleet_controller.delivery.assigned import AssignedView
from litefleet_controller.delivery.desired import DesiredPublisher, Echo, Pace, desired_message
from litefleet_controller.delivery.devices import DeviceRef
from litefleet_controller.delivery.epoch import EpochPublisher
from litefleet_controller.delivery.latest import Latest
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.identity.signing import Ed25519Signer, Ed25519Verifier
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.interface import Assignment, AssignmentBatch
from litefleet_controller.store.leases import SqlLeases
from litefleet_controller.store.objects import SqlObjects
from litefleet_protocol import codec, topics
from litefleet_protocol.envelope import PayloadType, unseal
from litefleet_protocol.limits import MAX_CONTROL_BYTES
from litefleet_protocol.messages import Desired, Epoch
from tests.controller.delivery.conftest import Mailbox, OpenLink, PlainBroker, until

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ARTIFACT = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def assignment(device: str, artifact: str = ARTIFACT, slot: str = "digits") -> Assignment:
    return Assignment(
        namespace="default",
        device=device,
        slot=slot,
        version="digits-v1",
        artifact=artifact,
        fallback=OTHER,
        rollout="line-a",
        probation_s=7.0,
        deadline_s=60.0,
        max_latency_ms=20.0,
        max_memory_bytes=1_000_000,
        assigned_at=NOW,
    )


class Boards:
    """Boards of one class, unless told. Implements Devices."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}

    async def locate(self, device: str) -> DeviceRef | None:
        return DeviceRef("default", device, self.classes.get(device, "rpi-4"))


class Said(dict[str, Echo]):
    """What boards echo. Implements Echoes."""

    def echo(self, device: str) -> Echo | None:
        return self.get(device)


@dataclass
class World:
    link: MqttLink
    assignments: SqlAssignments
    boards: Boards
    epoch: Latest[int | None]
    said: Said
    signer: Ed25519Signer
    now: list[float]
    publisher: DesiredPublisher
    assigned: AssignedView

    async def assign(self, *assignments: Assignment) -> None:
        await self.assignments.commit(AssignmentBatch(set=assignments), epoch=1)

    def read(self, payload: bytes) -> Desired:
        verifier = Ed25519Verifier([self.signer.public_key])
        body = unseal(PayloadType.DESIRED, payload, verifier, max_bytes=MAX_CONTROL_BYTES)
        return codec.decode(Desired, body)


@pytest.fixture
async def world(open_link: OpenLink, database: Database, objects: SqlObjects, signer: Ed25519Signer) -> World:
    await SqlLeases(database).acquire("me", NOW, 3600)
    link = await open_link("controller")
    assignments, boards, epoch, said, now = (
        SqlAssignments(database, objects),
        Boards(),
        Latest[int | None](1),
        Said(),
        [0.0],
    )
    assigned = AssignedView()
    publisher = DesiredPublisher(
        link, "fleet", assignments, boards, signer, epoch, said, assigned, Pace(tick_s=0.01), monotonic=lambda: now[0]
    )
    return World(link, assignments, boards, epoch, said, signer, now, publisher, assigned)


@asynccontextmanager
async def running(run: Callable[[], Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _board(open_link: OpenLink, name: str) -> Mailbox:
    link = await open_link(name)
    box = Mailbox(link)
    await link.subscribe(topics.down(name, topics.Down.DESIRED))
    return box


def _on(box: Mailbox, device: str) -> list[bytes]:
    return box.on(topics.down(device, topics.Down.DESIRED))


def test_the_message_says_what_was_assigned() -> None:
    message = desired_message("fleet", "default", "a", "rpi-4", 3, 9, [assignment("a"), assignment("a", slot="faces")])
    assert (message.epoch, message.counter, message.device, message.device_class) == (3, 9, "a", "rpi-4")
    assert sorted(message.slots) == ["digits", "faces"]
    slot = message.slots["digits"]
    assert (slot.artifact, slot.version, slot.rollout, slot.fallback) == (ARTIFACT, "digits-v1", "line-a", OTHER)
    assert (slot.probation_seconds, slot.deadline_seconds) == (7.0, 60.0)
    assert (slot.gates.max_latency_ms, slot.gates.max_memory_bytes) == (20.0, 1_000_000)


async def test_what_was_assigned_before_the_start_is_published_signed(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"))
    box = await _board(open_link, "a")
    async with running(world.publisher.run):
        await until(lambda: _on(box, "a"), "the message arrives")
    message = world.read(_on(box, "a")[0])
    assert (message.fleet, message.namespace, message.epoch, message.counter) == ("fleet", "default", 1, 1)
    assert message.slots["digits"].artifact == ARTIFACT


async def test_a_change_is_published_and_an_unchanged_board_is_not(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"), assignment("b"))
    a, b = await _board(open_link, "a"), await _board(open_link, "b")
    async with running(world.publisher.run):
        await until(lambda: _on(a, "a") and _on(b, "b"), "both have their first")
        world.publisher.touch("default", "b")
        await world.assign(assignment("a", OTHER))
        await until(lambda: len(_on(a, "a")) == 2, "the change arrives")
    assert world.read(_on(a, "a")[1]).counter == 2
    assert len(_on(b, "b")) == 1


async def test_an_emptied_slot_is_published_as_no_slots(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"))
    box = await _board(open_link, "a")
    async with running(world.publisher.run):
        await until(lambda: _on(box, "a"), "the first arrives")
        await world.assignments.commit(AssignmentBatch(clear=[("default", "a", "digits")]), epoch=1)
        await until(lambda: len(_on(box, "a")) == 2, "the second arrives")
    assert world.read(_on(box, "a")[1]).slots == {}


async def test_after_the_broker_lost_its_memory_every_board_gets_its_message_again(
    world: World, open_link: OpenLink, broker: PlainBroker
) -> None:
    await world.assign(*(assignment(f"b-{n}") for n in range(20)))
    async with running(world.publisher.run):
        await until(lambda: len(world.publisher._asserted) == 20, "all are published")
        broker.kill()
        await until(lambda: not world.link.state.value.connected, "the loss is noticed")
        broker.start()
        boards = await open_link("watcher")
        box = Mailbox(boards)
        await boards.subscribe(f"{topics.ROOT}/d/+/down/desired")
        await until(lambda: len({m.topic for m in box.messages}) == 20, "all are there again")


async def test_a_new_epoch_is_in_every_message(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"))
    box = await _board(open_link, "a")
    async with running(world.publisher.run):
        await until(lambda: _on(box, "a"), "the first arrives")
        world.epoch.set(5)
        await until(lambda: len(_on(box, "a")) == 2, "the second arrives")
    assert [world.read(p).epoch for p in _on(box, "a")] == [1, 5]


async def test_who_does_not_lead_publishes_nothing(world: World) -> None:
    await world.assign(assignment("a"))
    world.epoch.set(None)
    assert not await world.publisher.publish("default", "a")


async def test_a_board_that_is_online_and_lags_gets_it_again_at_growing_intervals_until_it_echoes(
    world: World, open_link: OpenLink
) -> None:
    await world.assign(assignment("a"))
    box = await _board(open_link, "a")
    world.said["a"] = Echo(online=True, epoch=1, counter=0)
    async with running(world.publisher.run):
        for sent, wait in ((1, 5.1), (2, 10.1), (3, 20.1)):
            await until(lambda sent=sent: len(_on(box, "a")) == sent and not _busy(world), f"message {sent} arrives")  # type: ignore[misc]
            world.now[0] += wait - 1
            world.publisher.push_laggards()
            assert not world.publisher._again  # not due yet
            world.now[0] += 1
        await until(lambda: len(_on(box, "a")) == 4 and not _busy(world), "message 4 arrives")
        world.said["a"] = Echo(online=True, epoch=1, counter=1)
        world.now[0] += 1000
        await until(lambda: not world.publisher._watched, "the echo is seen")
    assert len(_on(box, "a")) == 4


def _busy(world: World) -> bool:
    return bool(world.publisher._work._running or world.publisher._work._waiting)


async def test_an_offline_board_is_not_pushed(world: World) -> None:
    await world.assign(assignment("a"))
    world.said["a"] = Echo(online=False)
    async with running(world.publisher.run):
        await until(lambda: world.publisher._watched, "it is published")
        world.now[0] += 1000
        world.publisher.push_laggards()
        assert not world.publisher._again


async def test_another_class_is_another_message_of_the_same_counter(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"))
    box = await _board(open_link, "a")
    async with running(world.publisher.run):
        await until(lambda: _on(box, "a"), "the first arrives")
        world.boards.classes["a"] = "jetson"
        world.publisher.touch("default", "a")
        await until(lambda: len(_on(box, "a")) == 2, "the second arrives")
    assert world.read(_on(box, "a")[1]).device_class == "jetson"


async def test_what_is_assigned_can_be_looked_up_once_it_was_published(world: World) -> None:
    await world.assign(assignment("a"))
    await world.publisher.publish("default", "a")
    assert world.assigned.version_of("a", "digits", ARTIFACT) == "digits-v1"
    assert world.assigned.rollout_of("a", "digits", ARTIFACT) == "line-a"
    assert world.assigned.version_of("a", "digits", OTHER) == ""
    assert world.assigned.rollout_of("a", "faces", ARTIFACT) is None


async def test_a_forgotten_board_leaves_nothing_on_the_broker(world: World, open_link: OpenLink) -> None:
    await world.assign(assignment("a"))
    await world.publisher.publish("default", "a")
    board = await open_link("a")
    await board.publish(topics.up("a", topics.Up.PRESENCE), b"here", retain=True)
    await world.publisher.forget("default", "a")
    late = await open_link("late")
    box = Mailbox(late)
    await late.subscribe(f"{topics.ROOT}/d/#")
    await board.publish(f"{topics.ROOT}/d/end", b"end")
    await until(lambda: box.messages, "the marker arrives")
    assert [m.payload for m in box.messages] == [b"end"]


async def test_the_epoch_is_said_retained_and_signed_at_each_change_and_each_connection(
    open_link: OpenLink, signer: Ed25519Signer, broker: PlainBroker
) -> None:
    link = await open_link("controller")
    epoch: Latest[int | None] = Latest(None)
    async with running(EpochPublisher(link, "fleet", signer, epoch).run):
        board = await open_link("board")
        box = Mailbox(board)
        await board.subscribe(topics.EPOCH)
        epoch.set(3)
        await until(lambda: len(box.messages) == 1, "the epoch arrives")
        epoch.set(4)
        await until(lambda: len(box.messages) == 2, "the next epoch arrives")
        broker.kill()
        await until(lambda: not link.state.value.connected, "the loss is noticed")
        broker.start()
        await until(lambda: len(box.messages) == 3, "the epoch arrives again")
    verifier = Ed25519Verifier([signer.public_key])
    said = [unseal(PayloadType.EPOCH, m.payload, verifier, max_bytes=MAX_CONTROL_BYTES) for m in box.messages]
    assert [codec.decode(Epoch, s).epoch for s in said] == [3, 4, 4]
