"""Watches: order, no gap, no duplicate, selectors, expiry, and an end."""

import asyncio
from contextlib import aclosing

import pytest

from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import ExpiredError
from litefleet_controller.store.interface import FieldRequirement, LabelRequirement, Patch, Query
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.transaction import Retention

DEADLINE_S = 20


async def take(watch, number):
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(watch) for _ in range(number)]


def shown(events):
    return [(e.type.value, e.record.key.name) for e in events]


async def test_a_watch_from_now_sees_what_comes_after_the_call(objects, device):
    await objects.create(device("before"))
    async with aclosing(objects.watch(Query("Device"), None)) as watch:
        await objects.create(device("after"))
        assert shown(await take(watch, 1)) == [("ADDED", "after")]


async def test_a_watch_from_a_version_replays_and_goes_on(objects, device):
    since = (await objects.list(Query("Device"))).resource_version
    record = await objects.create(device("a"))
    await objects.patch(record.key, Patch("merge", {"metadata": {"labels": {"x": "1"}}}))
    async with aclosing(objects.watch(Query("Device"), since)) as watch:
        assert shown(await take(watch, 2)) == [("ADDED", "a"), ("MODIFIED", "a")]
        await objects.delete(record.key)
        [deleted] = await take(watch, 1)
    assert deleted.type == "DELETED"
    assert deleted.record.resource_version == await objects.resource_version()
    assert deleted.record.labels == {"x": "1"}


async def test_a_watch_from_zero_replays_all_there_was(objects, device):
    await objects.create(device("a"))
    async with aclosing(objects.watch(Query("Device"), 0)) as watch:
        assert shown(await take(watch, 1)) == [("ADDED", "a")]


async def test_events_carry_the_state_before(objects, device):
    async with aclosing(objects.watch(Query("Device"), None)) as watch:
        old = await objects.create(device("a"))
        new = await objects.patch(old.key, Patch("merge", {"spec": {"class": "coral"}}))
        added, modified = await take(watch, 2)
    assert (added.record, added.previous) == (old, None)
    assert (modified.record, modified.previous) == (new, old)


async def test_a_replayed_event_equals_the_live_one(objects, device):
    since = await objects.resource_version()
    async with aclosing(objects.watch(Query("Device"), None)) as live:
        record = await objects.create(device("a", labels={"x": "1"}))
        await objects.patch(record.key, Patch("merge", {"spec": {"class": "coral"}}))
        await objects.delete(record.key)
        async with aclosing(objects.watch(Query("Device"), since)) as replay:
            assert await take(replay, 3) == await take(live, 3)


async def test_a_no_op_makes_no_event(objects, device):
    record = await objects.create(device("a"))
    async with aclosing(objects.watch(Query("Device"), None)) as watch:
        await objects.patch(record.key, Patch("merge", {"spec": {"class": "pi4"}}))
        await objects.create(device("b"))
        assert shown(await take(watch, 1)) == [("ADDED", "b")]


async def test_a_watch_sees_its_kind_and_namespace_only(objects, device, rollout):
    async with aclosing(objects.watch(Query("Device", "elsewhere"), None)) as other:
        async with aclosing(objects.watch(Query("Device", "default"), None)) as watch:
            await objects.create(rollout("r"))
            await objects.create(device("a"))
            assert shown(await take(watch, 1)) == [("ADDED", "a")]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(other)


@pytest.mark.parametrize("replayed", [True, False])
async def test_leaving_a_label_selector_is_deleted_and_entering_it_added(objects, device, replayed):
    since = await objects.resource_version()
    query = Query("Device", labels=(LabelRequirement("ring", "In", ("canary",)),))
    watch = objects.watch(query, None) if not replayed else None
    a = await objects.create(device("a", labels={"ring": "canary"}))
    b = await objects.create(device("b", labels={"ring": "main"}))
    left = await objects.patch(a.key, Patch("merge", {"metadata": {"labels": {"ring": "main"}}}))
    await objects.patch(b.key, Patch("merge", {"metadata": {"labels": {"ring": "canary"}}}))
    await objects.patch(b.key, Patch("merge", {"status": {"connection": "Online"}}), subresource="status")
    await objects.delete(a.key)
    await objects.delete(b.key)
    watch = watch or objects.watch(query, since)
    async with aclosing(watch):
        events = await take(watch, 5)
    assert shown(events) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    assert events[1].record.resource_version == left.resource_version
    assert events[1].record.labels == {"ring": "canary"}
    assert events[2].previous is None


async def test_field_selectors_apply_to_watches(objects, device):
    query = Query("Device", fields=(FieldRequirement("spec.class", True, "coral"),))
    async with aclosing(objects.watch(query, None)) as watch:
        a = await objects.create(device("a"))
        await objects.patch(a.key, Patch("merge", {"spec": {"class": "coral"}}))
        await objects.patch(a.key, Patch("merge", {"spec": {"class": "pi4"}}))
        assert shown(await take(watch, 2)) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_from_the_future_is_silent_until_then(objects, device):
    future = await objects.resource_version() + 2
    async with aclosing(objects.watch(Query("Device"), future)) as watch:
        for name in ("a", "b", "c"):
            await objects.create(device(name))
        assert shown(await take(watch, 1)) == [("ADDED", "c")]


async def test_aclose_ends_a_reader_that_waits(objects):
    watch = objects.watch(Query("Device"), None)

    async def read():
        return [e async for e in watch]

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    await watch.aclose()
    await watch.aclose()
    async with asyncio.timeout(DEADLINE_S):
        assert await reader == []


async def test_a_cancelled_reader_can_read_on(objects, device):
    async with aclosing(objects.watch(Query("Device"), None)) as watch:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(watch)
        await objects.create(device("a"))
        assert shown(await take(watch, 1)) == [("ADDED", "a")]


async def test_closing_the_store_ends_its_watches(database, clock, uid):
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid)
    watch = objects.watch(Query("Device"), None)
    reader = asyncio.create_task(anext(watch, "ended"))
    await asyncio.sleep(0)
    await objects.aclose()
    async with asyncio.timeout(DEADLINE_S):
        assert await reader == "ended"


async def test_a_reader_that_falls_behind_is_expired(database, clock, uid, device):
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, watch_capacity=3)
    slow = objects.watch(Query("Device"), None)
    quick = objects.watch(Query("Device"), None)
    for i in range(4):
        await objects.create(device(f"d{i}"))
        assert shown(await take(quick, 1)) == [("ADDED", f"d{i}")]
    with pytest.raises(ExpiredError):
        await take(slow, 4)
    await objects.aclose()


async def test_a_version_older_than_the_history_is_expired(database, clock, uid, device):
    retention = Retention(at_least=5, at_most=10, seconds=1e9, every=10)
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, retention=retention)
    since = await objects.resource_version()
    for i in range(40):
        await objects.create(device(f"d{i}"))
    with pytest.raises(ExpiredError) as caught:
        await take(objects.watch(Query("Device"), since), 1)
    recent = objects.watch(Query("Device"), caught.value.oldest - 1)
    [first] = await take(recent, 1)
    assert first.record.resource_version == caught.value.oldest
    await objects.aclose()


async def test_history_is_compacted_by_age_but_never_to_nothing(database, clock, uid, device):
    retention = Retention(at_least=5, at_most=1000, seconds=60, every=10)
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, retention=retention)
    since = await objects.resource_version()
    for i in range(20):
        await objects.create(device(f"d{i}"))
    assert len(await take(objects.watch(Query("Device"), since), 20)) == 20
    clock.advance(3600)
    for i in range(20, 30):
        await objects.create(device(f"d{i}"))
    newest = await objects.resource_version()
    with pytest.raises(ExpiredError):
        await take(objects.watch(Query("Device"), since), 1)
    assert len(await take(objects.watch(Query("Device"), newest - 5), 5)) == 5
    await objects.aclose()


async def test_another_process_s_changes_arrive_in_order(url, database, clock, uid, device):
    """Two stores with engines of their own on one file are to each other what two processes are."""
    mine = SqlObjects(database, Registry(), clock=clock, uid=uid, poll_s=0.02)
    other_database = Database(url)
    other = SqlObjects(other_database, Registry(), clock=clock, uid=uid)
    async with aclosing(mine.watch(Query("Device"), None)) as watch:
        await mine.create(device("a"))
        await other.create(device("b"))
        await mine.create(device("c"))
        await other.create(device("d"))
        assert [name for _, name in shown(await take(watch, 4))] == ["a", "b", "c", "d"]
    await mine.aclose()
    await other.aclose()
    await other_database.close()


async def test_no_gap_and_no_duplicate_under_concurrent_writes(objects, device):
    """Watchers join from versions all along while writers write; each sees exactly what comes after its version."""
    writers, writes = 8, 25
    expected = writers * writes
    start = await objects.resource_version()
    watchers = []

    async def write(number):
        for i in range(writes):
            await objects.create(device(f"w{number}-{i}"))

    async def join():
        while await objects.resource_version() < start + expected:
            since = await objects.resource_version()
            watchers.append((since, objects.watch(Query("Device"), since)))
            await asyncio.sleep(0.01)

    watchers.append((start, objects.watch(Query("Device"), start)))
    async with asyncio.TaskGroup() as group:
        group.create_task(join())
        for number in range(writers):
            group.create_task(write(number))
    assert len(watchers) > 3
    for since, watch in watchers:
        events = await take(watch, start + expected - since)
        assert [e.record.resource_version for e in events] == list(range(since + 1, start + expected + 1))
        await watch.aclose()


async def test_an_event_is_made_once_for_all_watchers(objects, device):
    watches = [objects.watch(Query("Device"), None) for _ in range(3)]
    await objects.create(device("a"))
    first, *others = [(await take(w, 1))[0] for w in watches]
    assert all(other is first for other in others)
