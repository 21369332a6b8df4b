"""What boards say, in their Devices' status, in a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from litefleet_controller.delivery.desired import Echo
from litefleet_controller.delivery.devices import DeviceDirectory, DeviceRef
from litefleet_controller.delivery.reported import ReportedState
from litefleet_controller.store.errors import DatabaseFullError
from litefleet_controller.store.interface import Key, Patch
from litefleet_controller.store.objects import SqlObjects
from litefleet_protocol.messages import (
    AcceleratorFound,
    Capabilities,
    EngineFound,
    Presence,
    Reported,
    SlotReported,
)
from tests.controller.delivery.conftest import device_body, until

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARTIFACT = f"sha256:{'a' * 64}"
ONLINE = Presence(online=True, connection="one")


def report(device: str = "a", sequence: int = 1, counter: int = 1, phase: str = "Updated", **more: Any) -> Reported:
    slot = SlotReported(phase=phase, current=ARTIFACT, current_version="digits-v1", desired=ARTIFACT)
    defaults: dict[str, Any] = {"epoch": 1, "boot_id": "boot", "slots": {"digits": slot}}
    return Reported(
        fleet="fleet",
        device=device,
        device_class="rpi-4",
        sequence=sequence,
        counter=counter,
        capabilities=Capabilities(agent="0.1.0", runtimes={"litert": "2.3.0"}, machine="aarch64", memory_bytes=2**30),
        **(defaults | more),
    )


@dataclass
class World:
    objects: SqlObjects
    state: ReportedState
    now: list[float]
    higher: list[int]

    async def status(self, device: str = "a") -> dict[str, Any]:
        body = (await self.objects.get(Key("Device", "default", device))).json()
        return body.get("status") or {}

    async def settled(self) -> None:
        work = self.state._work
        await until(lambda: not work._waiting and not work._running, "everything is written")


def _state(objects: SqlObjects, now: list[float], higher: list[int]) -> ReportedState:
    return ReportedState(
        objects,
        DeviceDirectory(objects),
        epoch=lambda: 3,
        on_higher_epoch=higher.append,
        version_of=lambda _device, _slot, artifact: "digits-v1" if artifact == ARTIFACT else "",
        clock=lambda: START + timedelta(seconds=now[0]),
        monotonic=lambda: 1000 + now[0],
    )


@asynccontextmanager
async def running(state: ReportedState) -> AsyncIterator[None]:
    task = asyncio.create_task(state.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
async def world(objects: SqlObjects) -> AsyncIterator[World]:
    await objects.create(device_body("a"))
    now, higher = [0.0], list[int]()
    state = _state(objects, now, higher)
    async with running(state):
        yield World(objects, state, now, higher)


async def test_a_report_becomes_the_status(world: World) -> None:
    world.state.presence("a", ONLINE)
    world.state.reported("a", report())
    await world.settled()
    assert await world.status() == {
        "connection": "Online",
        "connectionId": "one",
        "lastSeen": "2026-03-01T12:00:00Z",
        "agentVersion": "0.1.0",
        "runtimes": {"litert": "2.3.0"},
        "machine": "aarch64",
        "memoryBytes": 2**30,
        "bootId": "boot",
        "epoch": 1,
        "counter": 1,
        "slots": [
            {
                "slot": "digits",
                "phase": "Updated",
                "current": ARTIFACT,
                "currentVersion": "digits-v1",
                "desired": ARTIFACT,
                "desiredVersion": "digits-v1",
                "code": "",
                "message": "",
                "progress": "",
            }
        ],
        "code": "",
        "message": "",
        "observedGeneration": 1,
    }


async def test_what_engines_a_board_has_stands_until_it_has_looked_again(world: World) -> None:
    stick = AcceleratorFound(name="edgetpu", code="AcceleratorFailed", message="m" * 5000)
    cpu = AcceleratorFound(name="cpu", description="this board's processor")
    engine = EngineFound(name="litert", version="2.3.0", accelerators=(cpu, stick))
    capabilities = Capabilities(agent="0.1.0", runtimes={"litert": "2.3.0"}, engines=(engine,))
    world.state.reported("a", msgspec.structs.replace(report(), capabilities=capabilities))
    await world.settled()
    (found,) = (await world.status())["engines"]
    assert (found["name"], found["version"]) == ("litert", "2.3.0")
    working, failed = found["accelerators"]
    assert working == {"name": "cpu", "description": "this board's processor"}
    assert (failed["code"], len(failed["message"])) == ("AcceleratorFailed", 300)
    world.state.reported("a", report(sequence=1, boot_id="another"))
    await world.settled()
    assert (await world.status())["engines"] == [found]


async def test_progress_is_shown_in_chunks(world: World) -> None:
    slot = SlotReported(phase="Preparing", received_chunks=3, total_chunks=12)
    world.state.reported("a", report(slots={"digits": slot}))
    await world.settled()
    assert (await world.status())["slots"][0]["progress"] == "3/12"


async def test_a_thousand_reports_of_one_board_cost_few_writes_and_the_last_one_wins(world: World) -> None:
    before = await world.objects.resource_version()
    for n in range(1000):
        world.state.reported("a", report(sequence=n, counter=n))
    await world.settled()
    assert (await world.status())["counter"] == 999
    assert await world.objects.resource_version() - before <= 2


async def test_a_report_that_repeats_itself_causes_no_write_until_a_minute_is_over(world: World) -> None:
    world.state.reported("a", report(sequence=1))
    await world.settled()
    before = await world.objects.resource_version()
    world.now[0] += 59
    world.state.reported("a", report(sequence=2))
    await world.settled()
    assert await world.objects.resource_version() == before
    world.now[0] += 2
    world.state.reported("a", report(sequence=3))
    await world.settled()
    assert (await world.status())["lastSeen"] == "2026-03-01T12:01:01Z"


async def test_an_older_report_of_the_same_boot_changes_nothing(world: World) -> None:
    world.state.reported("a", report(sequence=9, counter=9))
    world.state.reported("a", report(sequence=8, counter=8))
    await world.settled()
    assert (await world.status())["counter"] == 9


async def test_a_new_boot_starts_its_sequence_anew(world: World) -> None:
    world.state.reported("a", report(sequence=9, counter=9))
    world.state.reported("a", report(sequence=1, counter=10, boot_id="next"))
    await world.settled()
    assert (await world.status())["bootId"] == "next"


async def test_the_will_of_the_current_connection_puts_a_board_offline(world: World) -> None:
    world.state.presence("a", ONLINE)
    world.state.presence("a", Presence(online=False, connection="one"))
    await world.settled()
    assert (await world.status())["connection"] == "Offline"


async def test_a_late_will_can_not_overwrite_a_new_connection(world: World) -> None:
    world.state.presence("a", ONLINE)
    world.state.presence("a", Presence(online=True, connection="two"))
    world.state.presence("a", Presence(online=False, connection="one"))
    await world.settled()
    status = await world.status()
    assert (status["connection"], status["connectionId"]) == ("Online", "two")
    assert world.state.dropped == {"LateWill": 1}


async def test_a_late_will_is_known_as_one_after_a_restart_too(world: World) -> None:
    world.state.presence("a", Presence(online=True, connection="two"))
    await world.settled()
    restarted = _state(world.objects, [0.0], [])
    await restarted.load()
    restarted.presence("a", Presence(online=False, connection="one"))
    assert restarted.dropped == {"LateWill": 1}
    assert restarted.echo("a") == Echo(online=True)


async def test_the_view_answers_at_once(world: World) -> None:
    assert world.state.echo("a") is None
    world.state.presence("a", ONLINE)
    world.state.reported("a", report(counter=7))
    assert world.state.echo("a") == Echo(online=True, epoch=1, counter=7)
    await world.settled()


async def test_a_board_nobody_knows_is_dropped_and_counted(world: World) -> None:
    world.state.reported("stranger", report("stranger"))
    await world.settled()
    assert world.state.dropped == {"UnknownDevice": 1}
    assert world.state.echo("stranger") is None


async def test_an_epoch_above_ours_is_told_and_one_that_can_not_be_is_dropped(world: World) -> None:
    world.state.reported("a", report(epoch=3, sequence=1))
    world.state.reported("a", report(epoch=9, sequence=2))
    world.state.reported("a", report(epoch=2**50, sequence=3))
    world.state.reported("a", report(epoch=-1, sequence=4))
    await world.settled()
    assert world.higher == [9]
    assert world.state.dropped == {"BadMessage": 2}


async def test_what_can_not_be_of_a_report_is_left_out_and_the_rest_is_kept(world: World) -> None:
    good = SlotReported(phase="Updated", message="x" * 100_000)
    slots = {"digits": good, "Not A Name": good, "faces": SlotReported(phase="Confused"), "a1": good}
    capabilities = Capabilities(agent="v" * 1000, runtimes={}, memory_bytes=-1, disk_free_bytes=2**70)
    message = report(slots=slots)
    world.state.reported(
        "a", Reported(**{f: getattr(message, f) for f in message.__struct_fields__} | {"capabilities": capabilities})
    )
    await world.settled()
    status = await world.status()
    assert [s["slot"] for s in status["slots"]] == ["a1", "digits"]
    assert len(status["slots"][0]["message"]) == 1024
    assert "memoryBytes" not in status
    assert "diskFreeBytes" not in status


async def test_fields_that_others_write_stay(world: World) -> None:
    condition = {
        "type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-03-01T12:00:00Z"
    }  # fmt: skip
    key = Key("Device", "default", "a")
    await world.objects.patch(key, Patch("merge", {"status": {"conditions": [condition]}}), subresource="status")
    world.state.reported("a", report())
    await world.settled()
    assert (await world.status())["conditions"] == [condition]


async def test_a_busy_database_delays_a_status_and_loses_none(objects: SqlObjects) -> None:
    await objects.create(device_body("a"))
    broken = Breaking(objects, failures=2)
    state = _state(broken, [0.0], [])  # type: ignore[arg-type]
    async with running(state):
        state.reported("a", report())
        await until(lambda: broken.written, "it is written in the end")


async def test_a_database_without_room_is_logged_once_for_all_boards(objects: SqlObjects) -> None:
    for name in "abc":
        await objects.create(device_body(name))
    broken = Breaking(objects, failures=3, error=DatabaseFullError("disk is full"))
    state = _state(broken, [0.0], [])  # type: ignore[arg-type]
    with capture_logs() as logs:
        async with running(state):
            for name in "abc":
                state.presence(name, ONLINE)
            await until(lambda: broken.written, "it is written in the end")
    assert [entry["event"] for entry in logs] == ["device_statuses_put_off"]
    assert "free some space" in logs[0]["reason"]


class Breaking:
    """A store that fails at first."""

    def __init__(self, objects: SqlObjects, failures: int, error: Exception | None = None) -> None:
        self._objects = objects
        self._failures = failures
        self._error = error or OSError("input/output error")
        self.written = False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        found: Callable[..., Awaitable[Any]] = getattr(self._objects, name)
        return found

    async def mutate(self, *args: Any, **kwargs: Any) -> None:
        if self._failures:
            self._failures -= 1
            raise self._error
        await self._objects.mutate(*args, **kwargs)
        self.written = True


async def test_the_directory_finds_a_board_that_was_just_created(objects: SqlObjects) -> None:
    directory = DeviceDirectory(objects)
    await objects.create(device_body("a", "jetson"))
    assert await directory.locate("a") == DeviceRef("default", "a", "jetson")


async def test_the_directory_asks_again_for_a_name_only_after_a_while(objects: SqlObjects) -> None:
    now = [0.0]
    directory = DeviceDirectory(objects, monotonic=lambda: now[0])
    assert await directory.locate("a") is None
    await objects.create(device_body("a"))
    assert await directory.locate("a") is None
    now[0] += 6
    assert await directory.locate("a") is not None


async def test_the_directory_follows_new_classes_and_deletions(objects: SqlObjects) -> None:
    changed, gone = list[DeviceRef](), list[DeviceRef]()
    directory = DeviceDirectory(objects, on_change=changed.append, on_gone=gone.append)
    await objects.create(device_body("a"))
    task = asyncio.create_task(directory.run())
    await until(lambda: changed, "it is listed")
    key = Key("Device", "default", "a")
    await objects.patch(key, Patch("merge", {"spec": {"class": "jetson"}}))
    await until(lambda: len(changed) == 2, "the new class is seen")
    assert changed[1].device_class == "jetson"
    await objects.delete(key)
    await until(lambda: gone, "the deletion is seen")
    assert await directory.locate("a") is None
    task.cancel()
