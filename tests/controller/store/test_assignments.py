"""Desired state: counters, and commits that are one transaction."""

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from litefleet_controller.resources.admission import InvalidError
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.errors import ConflictError, NotFoundError, StaleEpochError
from litefleet_controller.store.interface import Assignment, AssignmentBatch, Query, StatusWrite
from litefleet_controller.store.leases import SqlLeases


@pytest.fixture
async def assignments(database, objects, clock):
    await SqlLeases(database).acquire("me", clock(), 15)
    return SqlAssignments(database, objects)


@pytest.fixture
def assigned(clock):
    def build(device="pi-1", slot="digits", **changes):
        base = Assignment(
            namespace="default", device=device, slot=slot, version="digits-v1", artifact="sha256:1", fallback=None,
            rollout="digits", probation_s=10.0, deadline_s=60.0, max_latency_ms=None, max_memory_bytes=2**40,
            assigned_at=clock(),
        )  # fmt: skip
        return replace(base, **changes)

    return build


async def test_a_board_without_assignments_counts_zero(assignments):
    assert await assignments.of_device("default", "pi-1") == (0, [])


async def test_what_was_set_is_read_back(assignments, assigned):
    rows = [assigned(slot="a"), assigned(slot="b", fallback="sha256:0", max_latency_ms=5.5)]
    assert await assignments.commit(AssignmentBatch(set=rows), epoch=1) is None
    assert await assignments.of_device("default", "pi-1") == (1, rows)
    assert await assignments.of_slot("default", "b") == [rows[1]]


async def test_a_counter_grows_with_every_change_and_only_then(assignments, assigned, clock):
    await assignments.commit(AssignmentBatch(set=[assigned(), assigned("pi-2")]), epoch=1)
    await assignments.commit(AssignmentBatch(set=[assigned(), assigned("pi-2", version="digits-v2")]), epoch=1)
    assert await assignments.devices() == [("default", "pi-1", 1), ("default", "pi-2", 2)]
    clock.advance(1)
    await assignments.commit(AssignmentBatch(set=[assigned()]), epoch=1)
    assert (await assignments.of_device("default", "pi-1"))[0] == 2


async def test_clearing_a_slot_counts_once_and_keeps_the_counter(assignments, assigned):
    await assignments.commit(AssignmentBatch(set=[assigned(slot="a"), assigned(slot="b")]), epoch=1)
    for _ in range(2):
        await assignments.commit(AssignmentBatch(clear=[("default", "pi-1", "a"), ("default", "pi-9", "a")]), epoch=1)
    assert await assignments.of_device("default", "pi-1") == (2, [assigned(slot="b")])
    assert await assignments.devices() == [("default", "pi-1", 2)]


async def test_a_thousand_boards_are_one_commit(assignments, assigned):
    rows = [assigned(f"pi-{i:04}") for i in range(1200)]
    await assignments.commit(AssignmentBatch(set=rows), epoch=1)
    assert await assignments.of_slot("default", "digits") == rows
    assert {counter for _, _, counter in await assignments.devices()} == {1}


async def test_a_status_is_written_in_the_same_transaction_and_watched(assignments, assigned, objects, rollout):
    record = await objects.create(rollout())
    async with aclosing(objects.watch(Query("ModelRollout"), None)) as watch:
        status = StatusWrite(record.key, record.resource_version, {"phase": "Progressing"})
        new = await assignments.commit(AssignmentBatch(set=[assigned()], status=status), epoch=1)
        async with asyncio.timeout(10):
            event = await anext(watch)
    assert new.json()["status"] == {"phase": "Progressing"}
    assert event.record == new == await objects.get(record.key)
    same = StatusWrite(record.key, new.resource_version, {"phase": "Progressing"})
    assert await assignments.commit(AssignmentBatch(status=same), epoch=1) == new


async def unchanged(assignments, objects, record):
    return await assignments.devices() == [] and await objects.get(record.key) == record


@pytest.mark.parametrize("epoch", [0, 2])
async def test_a_stale_epoch_writes_nothing(assignments, assigned, objects, rollout, epoch):
    record = await objects.create(rollout())
    status = StatusWrite(record.key, record.resource_version, {"phase": "Progressing"})
    with pytest.raises(StaleEpochError) as caught:
        await assignments.commit(AssignmentBatch(set=[assigned()], status=status), epoch=epoch)
    assert (caught.value.mine, caught.value.current) == (epoch, 1)
    assert await unchanged(assignments, objects, record)


async def test_without_any_leader_nothing_is_written(database, objects, assigned):
    assignments = SqlAssignments(database, objects)
    with pytest.raises(StaleEpochError):
        await assignments.commit(AssignmentBatch(set=[assigned()]), epoch=1)
    assert await assignments.devices() == []


async def test_a_status_of_an_object_that_moved_on_writes_nothing(assignments, assigned, objects, rollout):
    record = await objects.create(rollout())
    status = StatusWrite(record.key, record.resource_version - 1, {"phase": "Progressing"})
    with pytest.raises(ConflictError):
        await assignments.commit(AssignmentBatch(set=[assigned()], status=status), epoch=1)
    assert await unchanged(assignments, objects, record)


async def test_a_status_that_does_not_fit_writes_nothing(assignments, assigned, objects, rollout):
    record = await objects.create(rollout())
    status = StatusWrite(record.key, record.resource_version, {"phase": "Splendid"})
    with pytest.raises(InvalidError):
        await assignments.commit(AssignmentBatch(set=[assigned()], status=status), epoch=1)
    assert await unchanged(assignments, objects, record)


async def test_a_status_of_an_object_that_is_gone_writes_nothing(assignments, assigned, objects, rollout):
    record = await objects.create(rollout())
    await objects.delete(record.key)
    status = StatusWrite(record.key, record.resource_version, {})
    with pytest.raises(NotFoundError):
        await assignments.commit(AssignmentBatch(set=[assigned()], status=status), epoch=1)
    assert await assignments.devices() == []


async def test_changes_name_each_board_that_really_changed(assignments, assigned):
    async with aclosing(assignments.changes()) as changes:
        await assignments.commit(AssignmentBatch(set=[assigned("pi-1"), assigned("pi-2")]), epoch=1)
        await assignments.commit(AssignmentBatch(set=[assigned("pi-1"), assigned("pi-3")]), epoch=1)
        async with asyncio.timeout(10):
            seen = [await anext(changes) for _ in range(3)]
    assert seen == [("default", "pi-1"), ("default", "pi-2"), ("default", "pi-3")]


async def test_a_commit_whose_caller_is_cancelled_is_a_change_too(assignments, objects, assigned, monkeypatch):
    transaction = objects.transaction

    @asynccontextmanager
    async def cancelled_late():
        async with transaction() as writes:
            yield writes
        raise asyncio.CancelledError  # as when the cancellation comes while the commit is under way

    monkeypatch.setattr(objects, "transaction", cancelled_late)
    async with aclosing(assignments.changes()) as changes:
        with pytest.raises(asyncio.CancelledError):
            await assignments.commit(AssignmentBatch(set=[assigned("pi-1")]), epoch=1)
        async with asyncio.timeout(10):
            assert await anext(changes) == ("default", "pi-1")
    assert (await assignments.of_device("default", "pi-1"))[0] == 1


async def test_changes_end_by_aclose(assignments):
    changes = assignments.changes()
    reader = asyncio.create_task(anext(changes, "ended"))
    await asyncio.sleep(0)
    await changes.aclose()
    async with asyncio.timeout(10):
        assert await reader == "ended"


async def test_artifacts_in_use_are_those_assigned_and_their_fallbacks(assignments, assigned):
    rows = [
        assigned("pi-1", artifact="sha256:1", fallback="sha256:0"),
        assigned("pi-2", artifact="sha256:1", fallback=""),
    ]
    await assignments.commit(AssignmentBatch(set=rows), epoch=1)
    assert await assignments.artifacts_in_use() == {("default", "sha256:1"), ("default", "sha256:0")}
