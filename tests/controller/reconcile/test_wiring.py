"""Who reacts to what: changes that decide something wake, what boards repeat all the time doesn't."""

from collections.abc import Iterable
from typing import Any

import pytest

from litefleet_controller.reconcile.interface import Request, Result
from litefleet_controller.reconcile.wiring import bindings
from litefleet_controller.store.interface import Event, EventType, Key, Page, Query
from tests.controller.reconcile.conftest import World

ROLLOUT = {"modelRef": {"name": "digits"}, "strategy": {"canary": {"steps": [{"setWeight": 50}]}}}
SLOT = {"slot": "digits", "phase": "Preparing", "progress": "1/9"}


class Idle:
    async def reconcile(self, _: Request) -> Result:
        return Result()


async def woken(world: World, binding: str, kind: str, events: list[Event]) -> Iterable[Request]:
    idle = Idle()
    found = bindings(world.objects, models=idle, versions=idle, classes=idle, devices=idle, rollouts=idle)
    (source,) = (s for b in found if b.name == binding for s in b.sources if s.kind == kind)
    return list(await source.requests(events))


async def status_event(world: World, before: dict[str, Any], after: dict[str, Any]) -> Event:
    """The change of a board's status from `before` to `after`."""
    key = Key("Device", "default", "pi-1")
    await world.set_status("Device", "pi-1", before)
    previous = await world.objects.get(key)
    await world.set_status("Device", "pi-1", after)
    return Event(EventType.MODIFIED, await world.objects.get(key), previous)


@pytest.mark.parametrize(
    ("after", "wakes"),
    [
        ({"connection": "Online", "slots": [SLOT], "lastSeen": "2026-01-01T00:00:00Z", "diskFreeBytes": 5}, False),
        ({"connection": "Online", "slots": [{**SLOT, "progress": "2/9"}]}, False),
        ({"connection": "Offline", "slots": [SLOT]}, True),
        ({"connection": "Online", "slots": [{**SLOT, "phase": "Updated"}]}, True),
        ({"connection": "Online", "slots": [SLOT], "code": "BadSignature"}, True),
    ],
)
async def test_a_board_wakes_rollouts_when_its_standing_is_new(
    world: World, after: dict[str, Any], wakes: bool
) -> None:
    await world.create("ModelRollout", "digits", ROLLOUT)
    await world.create("Device", "pi-1", {"class": "rpi-4"})
    event = await status_event(world, {"connection": "Online", "slots": [SLOT]}, after)
    expected = [Request("default", "digits")] if wakes else []
    assert await woken(world, "rollouts", "Device", [event]) == expected


@pytest.mark.parametrize(
    ("after", "wakes"),
    [({"runtimes": {"litert": "2.3.0"}, "connection": "Offline"}, False), ({"runtimes": {"litert": "2.2.0"}}, True)],
)
async def test_a_board_wakes_its_class_when_its_engine_is_another(
    world: World, after: dict[str, Any], wakes: bool
) -> None:
    await world.create("Device", "pi-1", {"class": "rpi-4"})
    event = await status_event(world, {"runtimes": {"litert": "2.3.0"}}, after)
    assert await woken(world, "classes", "Device", [event]) == ([Request("default", "rpi-4")] if wakes else [])


async def test_a_thousand_boards_at_the_start_cost_one_list_of_rollouts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create("ModelRollout", "digits", ROLLOUT)
    board = await world.create("Device", "pi-1", {"class": "rpi-4"})
    lists = 0
    list_ = world.objects.list

    async def counted(query: Query) -> Page:
        nonlocal lists
        lists += 1
        return await list_(query)

    monkeypatch.setattr(world.objects, "list", counted)
    events = [Event(EventType.ADDED, board, None)] * 1000
    assert await woken(world, "rollouts", "Device", events) == [Request("default", "digits")]
    assert lists == 1


@pytest.mark.parametrize(
    ("after", "wakes"),
    [
        (
            {"files": [{"field": "spec.source", "uri": "https://m.test/m", "state": "Fetching", "receivedBytes": 5}]},
            False,
        ),
        ({"conditions": []}, False),
        ({"latestVersion": {"name": "digits-v1", "number": 1}}, True),
    ],
)
async def test_how_far_a_models_files_are_does_not_wake_its_reconciler(
    world: World, after: dict[str, Any], wakes: bool
) -> None:
    previous = await world.model()
    await world.set_status("Model", "digits", after)
    event = Event(EventType.MODIFIED, await world.objects.get(Key("Model", "default", "digits")), previous)
    assert await woken(world, "models", "Model", [event]) == ([Request("default", "digits")] if wakes else [])
    added = Event(EventType.ADDED, previous, None)
    assert await woken(world, "models", "Model", [added]) == [Request("default", "digits")]
