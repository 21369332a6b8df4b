"""Events as kubectl reads them."""

import pytest

from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import FieldRequirement, Key

ROLLOUT = Key("ModelRollout", "default", "digits")


@pytest.fixture
def events(objects, uid):
    return SqlEvents(objects, uid=uid, kept=20)


async def record(events, clock, message="weight 5", key=ROLLOUT, reason="StepStarted"):
    return (await events.record(key, "u-1", "Normal", reason, message, clock(), "rollout-controller")).json()


async def test_an_event_is_core_v1(events, clock):
    event = await record(events, clock)
    del event["metadata"]
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "apiVersion": "litefleet.dev/v1alpha1", "kind": "ModelRollout", "namespace": "default", "name": "digits", "uid": "u-1",
        },
        "type": "Normal",
        "reason": "StepStarted",
        "message": "weight 5",
        "source": {"component": "rollout-controller"},
        "reportingComponent": "rollout-controller",
        "reportingInstance": "",
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "eventTime": None,
        "count": 1,
    }  # fmt: skip


async def test_the_same_within_an_hour_counts_up(events, clock):
    await record(events, clock)
    clock.advance(3599)
    again = await record(events, clock)
    assert (again["count"], again["firstTimestamp"], again["lastTimestamp"]) == (
        2,
        "2026-01-02T03:04:05Z",
        "2026-01-02T04:04:04Z",
    )
    assert len((await events.list("default")).records) == 1


async def test_the_same_after_an_hour_is_a_new_one(events, clock):
    first = await record(events, clock)
    clock.advance(3600)
    later = await record(events, clock)
    assert later["count"] == 1
    assert later["metadata"]["uid"] != first["metadata"]["uid"]


async def test_another_message_is_another_event(events, clock):
    await record(events, clock, "weight 5")
    await record(events, clock, "weight 50")
    assert len((await events.list("default")).records) == 2


async def test_events_are_selected_by_what_they_are_about(events, clock):
    await record(events, clock)
    await record(events, clock, key=Key("Device", "default", "digits"))
    fields = [
        FieldRequirement("involvedObject.kind", True, "ModelRollout"),
        FieldRequirement("involvedObject.name", True, "digits"),
        FieldRequirement("involvedObject.namespace", True, "default"),
        FieldRequirement("involvedObject.uid", True, "u-1"),
    ]
    assert len((await events.list("default", fields)).records) == 1
    assert len((await events.list("elsewhere", fields)).records) == 0


async def test_only_the_newest_are_kept(events, clock):
    for i in range(50):
        await record(events, clock, f"step {i}")
    kept = [r.json()["message"] for r in (await events.list("default")).records]
    assert len(kept) <= 20
    assert "step 49" in kept
    assert "step 0" not in kept


async def test_a_long_message_is_cut(events, clock):
    assert len((await record(events, clock, "x" * 5000))["message"]) == 1024


async def test_a_time_in_small_letters_is_read(events, objects, clock):
    first = await events.record(ROLLOUT, "u-1", "Normal", "StepStarted", "weight 5", clock(), "rollout-controller")
    await objects.mutate(first.key, lambda event: {**event, "lastTimestamp": "2026-01-02t03:04:05z"})
    assert (await record(events, clock))["count"] == 2


async def test_one_that_a_client_emptied_is_made_anew(events, objects, clock):
    first = await events.record(ROLLOUT, "u-1", "Normal", "StepStarted", "weight 5", clock(), "rollout-controller")
    await objects.mutate(first.key, lambda event: {**event, "lastTimestamp": None, "count": None})
    again = await record(events, clock)
    assert (again["count"], again["lastTimestamp"]) == (1, "2026-01-02T03:04:05Z")
