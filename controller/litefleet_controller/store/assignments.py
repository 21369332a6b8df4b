"""Desired state in SQL: what each slot of each board was commanded to run, and the boards' counters."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import bindparam, delete, func, insert, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import ConflictError, NotFoundError, StaleEpochError
from litefleet_controller.store.interface import Assignment, AssignmentBatch, Record, StatusWrite
from litefleet_controller.store.leases import current_lease
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.tables import ASSIGNMENTS, BOARD_COUNTERS, AnyRow
from litefleet_controller.store.transaction import ObjectTransaction

Board = tuple[str, str]
"""(namespace, device)."""
_Slot = tuple[str, str, str]
_CHUNK = 500


class BoardChanges:
    """An AsyncIterator of boards whose assignments changed; a board that changes twice unread comes once."""

    def __init__(self, readers: "set[BoardChanges]") -> None:
        self._readers = readers
        self._pending: dict[Board, None] = {}
        self._wake = asyncio.Event()
        self._closed = False
        readers.add(self)

    def __aiter__(self) -> "BoardChanges":
        return self

    async def __anext__(self) -> Board:
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        board = next(iter(self._pending))
        del self._pending[board]
        return board

    async def aclose(self) -> None:
        """End it. Twice is once."""
        self._closed = True
        self._pending.clear()
        self._readers.discard(self)
        self._wake.set()

    def offer(self, boards: Iterable[Board]) -> None:
        """These changed."""
        self._pending.update(dict.fromkeys(boards))
        self._wake.set()


class SqlAssignments:
    """See `interface.Assignments`."""

    def __init__(self, database: Database, objects: SqlObjects) -> None:
        self._database = database
        self._objects = objects
        self._readers: set[BoardChanges] = set()

    async def of_device(self, namespace: str, device: str) -> tuple[int, Sequence[Assignment]]:
        """See `interface.Assignments.of_device`."""
        counter = select(BOARD_COUNTERS.c.counter).where(
            BOARD_COUNTERS.c.namespace == namespace, BOARD_COUNTERS.c.device == device
        )
        slots = (
            select(ASSIGNMENTS)
            .where(ASSIGNMENTS.c.namespace == namespace, ASSIGNMENTS.c.device == device)
            .order_by(ASSIGNMENTS.c.slot)
        )
        async with self._database.reading() as connection:
            count = (await connection.execute(counter)).scalar()
            rows = (await connection.execute(slots)).all()
        return count or 0, [_assignment(row) for row in rows]

    async def of_slot(self, namespace: str, slot: str) -> Sequence[Assignment]:
        """See `interface.Assignments.of_slot`."""
        wanted = (
            select(ASSIGNMENTS)
            .where(ASSIGNMENTS.c.namespace == namespace, ASSIGNMENTS.c.slot == slot)
            .order_by(ASSIGNMENTS.c.device)
        )
        async with self._database.reading() as connection:
            return [_assignment(row) for row in await connection.execute(wanted)]

    async def devices(self) -> Sequence[tuple[str, str, int]]:
        """See `interface.Assignments.devices`."""
        wanted = select(BOARD_COUNTERS).order_by(BOARD_COUNTERS.c.namespace, BOARD_COUNTERS.c.device)
        async with self._database.reading() as connection:
            return [(row.namespace, row.device, row.counter) for row in await connection.execute(wanted)]

    async def commit(self, batch: AssignmentBatch, *, epoch: int) -> Record | None:
        """See `interface.Assignments.commit`. A row equal to the stored one, `assigned_at` included, is no change."""
        boards: list[Board] = []
        try:
            async with self._objects.transaction() as writes:
                await _check_epoch(writes.connection, epoch)
                boards = await _write_assignments(writes.connection, batch)
                record = await self._write_status(writes, batch.status) if batch.status is not None else None
        finally:
            # Also after a cancellation, which may come once the commit is done: a reader looks at the database anyway.
            for reader in list(self._readers):
                reader.offer(boards)
        return record

    def changes(self) -> BoardChanges:
        """See `interface.Assignments.changes`."""
        return BoardChanges(self._readers)

    async def artifacts_in_use(self) -> set[tuple[str, str]]:
        """See `interface.Assignments.artifacts_in_use`."""
        fallbacks = select(ASSIGNMENTS.c.namespace, ASSIGNMENTS.c.fallback).where(
            func.coalesce(ASSIGNMENTS.c.fallback, "") != ""
        )
        wanted = union_all(select(ASSIGNMENTS.c.namespace, ASSIGNMENTS.c.artifact).distinct(), fallbacks.distinct())
        async with self._database.reading() as connection:
            return {(namespace, digest) for namespace, digest in await connection.execute(wanted)}

    async def _write_status(self, writes: ObjectTransaction, status: StatusWrite) -> Record:
        stored = await writes.load(status.key)
        if stored is None:
            raise NotFoundError(status.key)
        if stored.record.resource_version != status.resource_version:
            raise ConflictError(status.key)
        return await writes.update(stored, self._objects.status_written(stored, status.status))


async def _check_epoch(connection: AsyncConnection, epoch: int) -> None:
    lease = await current_lease(connection)
    current = lease.epoch if lease is not None else 0
    if current != epoch:
        raise StaleEpochError(epoch, current)


async def _write_assignments(connection: AsyncConnection, batch: AssignmentBatch) -> list[Board]:
    """Write what differs and raise the counters of the boards it belongs to; these boards."""
    wanted: dict[_Slot, Assignment | None] = dict.fromkeys(batch.clear)
    wanted.update({(a.namespace, a.device, a.slot): a for a in batch.set})
    stored = await _stored(connection, {slot[:2] for slot in wanted})
    changed = {slot: a for slot, a in wanted.items() if stored.get(slot) != a}
    if not changed:
        return []
    outdated = [{"n": n, "d": d, "s": s} for n, d, s in changed if (n, d, s) in stored]
    if outdated:
        await connection.execute(
            delete(ASSIGNMENTS).where(
                ASSIGNMENTS.c.namespace == bindparam("n"),
                ASSIGNMENTS.c.device == bindparam("d"),
                ASSIGNMENTS.c.slot == bindparam("s"),
            ),
            outdated,
        )
    added = [asdict(a) for a in changed.values() if a is not None]
    if added:
        await connection.execute(insert(ASSIGNMENTS), added)
    boards = sorted({slot[:2] for slot in changed})
    await _raise_counters(connection, boards)
    return boards


async def _stored(connection: AsyncConnection, boards: set[Board]) -> dict[_Slot, Assignment]:
    found: dict[_Slot, Assignment] = {}
    for namespace, devices in _by_namespace(boards):
        rows = await connection.execute(
            select(ASSIGNMENTS)
            .where(ASSIGNMENTS.c.namespace == namespace, ASSIGNMENTS.c.device.in_(devices))
            .with_for_update()
        )
        found.update({(row.namespace, row.device, row.slot): _assignment(row) for row in rows})
    return found


async def _raise_counters(connection: AsyncConnection, boards: list[Board]) -> None:
    known: set[Board] = set()
    for namespace, devices in _by_namespace(boards):
        rows = await connection.execute(
            select(BOARD_COUNTERS.c.device).where(
                BOARD_COUNTERS.c.namespace == namespace, BOARD_COUNTERS.c.device.in_(devices)
            )
        )
        known.update((namespace, device) for (device,) in rows)
    if known:
        await connection.execute(
            update(BOARD_COUNTERS)
            .where(BOARD_COUNTERS.c.namespace == bindparam("n"), BOARD_COUNTERS.c.device == bindparam("d"))
            .values(counter=BOARD_COUNTERS.c.counter + 1),
            [{"n": n, "d": d} for n, d in boards if (n, d) in known],
        )
    new = [{"namespace": n, "device": d, "counter": 1} for n, d in boards if (n, d) not in known]
    if new:
        await connection.execute(insert(BOARD_COUNTERS), new)


def _by_namespace(boards: Iterable[Board]) -> Iterable[tuple[str, list[str]]]:
    """Boards in groups of a namespace, small enough for one statement."""
    grouped: dict[str, list[str]] = {}
    for namespace, device in sorted(boards):
        grouped.setdefault(namespace, []).append(device)
    for namespace, devices in grouped.items():
        for start in range(0, len(devices), _CHUNK):
            yield namespace, devices[start : start + _CHUNK]


def _assignment(row: AnyRow) -> Assignment:
    return Assignment(**row._mapping)  # Columns are named after the fields.
