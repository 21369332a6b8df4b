"""Namespaces: made like every object, and deleted with all that is in them."""

import asyncio
from contextlib import suppress

import pytest

from litefleet_controller.resources.admission import InvalidError
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.errors import (
    AlreadyExistsError,
    NamespaceNotFoundError,
    NamespaceTerminatingError,
    NotFoundError,
    ProtectedError,
)
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import Key, Patch, Query
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.termination import PORTION

LINE = Key("Namespace", "", "line-a")


async def gone(objects):
    """Until it is."""
    watch = objects.watch(Query("Namespace"), None)
    with suppress(NotFoundError):
        while True:
            await objects.get(LINE)
            async with asyncio.timeout(20):
                await anext(watch)
    await watch.aclose()


async def test_default_exists_from_the_start(objects):
    (default,) = (await objects.list(Query("Namespace"))).records
    body = default.json()
    assert (body["metadata"]["name"], body["status"]["phase"]) == ("default", "Active")
    assert body["metadata"]["labels"] == {"kubernetes.io/metadata.name": "default"}


async def test_a_new_one_takes_objects(objects, device):
    await objects.create(manifest("line-a"))
    assert (await objects.create(device(namespace="line-a"))).key.namespace == "line-a"


async def test_a_taken_name_is_refused(objects):
    with pytest.raises(AlreadyExistsError):
        await objects.create(manifest("default"))


@pytest.mark.parametrize("name", ["", "../x", "A", "a.b", "a" * 64, "\u0430"])
async def test_a_name_that_is_no_label_is_refused(objects, name):
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        await objects.create(manifest(name))


async def test_a_missing_one_takes_nothing(objects, device):
    with pytest.raises(NamespaceNotFoundError):
        await objects.create(device(namespace="nowhere"))


async def test_labels_can_be_changed_but_not_the_one_that_is_the_name(objects):
    await objects.create(manifest("line-a"))
    labels = {"site": "a", "kubernetes.io/metadata.name": "x"}
    record = await objects.patch(LINE, Patch("merge", {"metadata": {"labels": labels}}))
    assert record.labels == {"site": "a", "kubernetes.io/metadata.name": "line-a"}


async def test_an_empty_one_goes_at_once(objects):
    await objects.create(manifest("line-a"))
    assert (await objects.delete(LINE)).record.json()["status"] == {"phase": "Terminating"}
    with pytest.raises(NotFoundError):
        await objects.get(LINE)


async def test_its_objects_and_events_go_with_it(objects, device, clock, uid):
    await objects.create(manifest("line-a"))
    made = await objects.create(device(namespace="line-a"))
    await SqlEvents(objects, uid=uid).record(made.key, made.uid, "Normal", "Seen", "it is there", clock(), "test")
    await objects.delete(LINE)
    for kind in ("Device", "Event"):
        assert list((await objects.list(Query(kind))).records) == []
    with pytest.raises(NotFoundError):
        await objects.get(LINE)


async def test_a_finalizer_holds_it_and_it_says_so(objects, device):
    await objects.create(manifest("line-a"))
    held = device(namespace="line-a")
    held["metadata"]["finalizers"] = ["litefleet.dev/hold"]
    key = (await objects.create(held)).key
    await objects.delete(LINE)
    conditions = {c["type"]: c for c in (await objects.get(LINE)).json()["status"]["conditions"]}
    told = conditions["NamespaceFinalizersRemaining"]
    assert told["message"].endswith("litefleet.dev/hold in 1 resource instances")
    with pytest.raises(NamespaceTerminatingError):
        await objects.create(device(name="late", namespace="line-a"))
    before = (await objects.get(LINE)).json()["status"]["conditions"]
    assert {c["lastTransitionTime"] for c in before} == {"2026-01-02T03:04:05Z"}
    await objects.patch(key, Patch("merge", {"metadata": {"finalizers": None}}))
    with pytest.raises(NotFoundError):
        await objects.get(LINE)


async def test_no_event_is_recorded_in_one_that_is_gone(objects, device, clock, uid):
    await objects.create(manifest("line-a"))
    made = await objects.create(device(namespace="line-a"))
    await objects.delete(LINE)
    told = await SqlEvents(objects, uid=uid).record(made.key, made.uid, "Normal", "Seen", "late", clock(), "test")
    assert told is None


async def test_default_stays(objects):
    with pytest.raises(ProtectedError):
        await objects.delete(Key("Namespace", "", "default"))


async def test_dry_run_makes_none(objects):
    await objects.create(manifest("x"), dry_run=True)
    with pytest.raises(NotFoundError):
        await objects.get(Key("Namespace", "", "x"))


async def test_what_else_belongs_to_it_ends_before_it(database, clock, uid):
    """In portions, each in a transaction of its own."""
    portions = []

    async def farewell(_connection, name, now):
        portions.append((name, now))
        return len(portions) == 3

    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, farewell=farewell)
    await objects.create(manifest("line-a"))
    await objects.delete(LINE)
    await gone(objects)
    assert portions == [("line-a", clock())] * 3
    await objects.aclose()


async def test_a_deletion_whose_farewell_fails_did_not_happen(database, clock, uid):
    async def farewell(_connection, _name, _now):
        raise RuntimeError("no")

    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, farewell=farewell)
    await objects.create(manifest("line-a"))
    with pytest.raises(RuntimeError):
        await objects.delete(LINE)
    assert (await objects.get(LINE)).json()["status"] == {"phase": "Active"}
    await objects.aclose()


async def filled(objects, device, count):
    await objects.create(manifest("line-a"))
    for number in range(count):
        await objects.create(device(f"d{number}", namespace="line-a"))


async def test_one_of_many_objects_goes_in_portions_and_lets_others_write_in_between(objects, device):
    await filled(objects, device, 2 * PORTION + 1)
    await objects.delete(LINE)
    left = await objects.list(Query("Device", "line-a"))
    assert len(left.records) == PORTION + 1
    await objects.create(device("other"))
    await gone(objects)
    assert [r.key.name for r in (await objects.list(Query("Device"))).records] == ["other"]


async def test_one_that_a_killed_process_left_behind_goes_at_the_next_start(database, device, clock, uid):
    first = SqlObjects(database, Registry(), clock=clock, uid=uid)
    await filled(first, device, 2 * PORTION)
    await first.delete(LINE)
    await first.aclose()
    assert (await first.get(LINE)).json()["status"] == {"phase": "Terminating"}
    second = SqlObjects(database, Registry(), clock=clock, uid=uid)
    await second.resume()
    await gone(second)
    assert list((await second.list(Query("Device"))).records) == []
    await second.aclose()
