"""Writes to objects inside one database transaction, with their history.

Whoever writes objects (SqlObjects, SqlAssignments, SqlEvents) does it through an `ObjectTransaction`, so that each
change has a resourceVersion of its own, a row in the history, and an event for the watchers once it is committed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import overload

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.errors import NamespaceNotFoundError, NamespaceTerminatingError
from litefleet_controller.store.garbage import Collector
from litefleet_controller.store.interface import Event, EventType, Json, Key, Propagation, Record
from litefleet_controller.store.lifecycle import doomed, is_finished, marked
from litefleet_controller.store.records import Entries, Stored, index_entries, record_of, with_version
from litefleet_controller.store.tables import CHANGES, OBJECT_INDEX, OBJECTS, REVISION, AnyRow
from litefleet_controller.store.termination import KIND as NAMESPACE
from litefleet_controller.store.termination import Farewell, Qualified, Termination, is_terminating

Selectable = Callable[[str], tuple[str, ...]]
"""From a kind's name to the paths (with leading dots) that its field selectors may name."""


@dataclass(frozen=True, slots=True)
class Change:
    """An event with what selectors compare, before and after."""

    event: Event
    entries: Entries
    previous_entries: Entries


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept: all of the last `seconds`, but between `at_least` and `at_most` changes."""

    at_least: int = 1_000
    at_most: int = 20_000
    seconds: float = 900.0
    every: int = 500
    """Versions between two compactions."""


@dataclass(slots=True)
class ObjectTransaction:
    """The writes of one transaction. `changes` are published when it is committed."""

    connection: AsyncConnection
    now: datetime
    selectable: Selectable
    qualified: Qualified
    farewell: Farewell
    changes: list[Change] = field(default_factory=list)
    termination: Termination = field(init=False)
    _collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        self._collector = Collector(self)
        self.termination = Termination(self, self.qualified, self.farewell)

    async def check_room(self, key: Key) -> None:
        """Whether the object may be made where it is to be.

        Raises:
            NamespaceNotFoundError: its namespace isn't there.
            NamespaceTerminatingError: it is being deleted.
        """
        if not key.namespace:
            return
        of_namespace = (OBJECTS.c.kind == NAMESPACE, OBJECTS.c.namespace == "", OBJECTS.c.name == key.namespace)
        body = (await self.connection.execute(select(OBJECTS.c.body).where(*of_namespace))).scalar_one_or_none()
        if body is None:
            raise NamespaceNotFoundError(key.namespace)
        if is_terminating(json.loads(body)):
            raise NamespaceTerminatingError(key)

    async def load(self, key: Key) -> Stored | None:
        """The object, locked until the transaction ends."""
        found = await self.connection.execute(
            select(*LISTED, OBJECTS.c.id)
            .where(OBJECTS.c.kind == key.kind, OBJECTS.c.namespace == key.namespace, OBJECTS.c.name == key.name)
            .with_for_update()
        )
        row = found.first()
        return _stored(row) if row is not None else None

    async def insert(self, body: Json) -> Record:
        """A new object."""
        record = record_of(with_version(body, await self._next_version()))
        entries = index_entries(body, self.selectable(record.key.kind))
        inserted = await self.connection.execute(insert(OBJECTS).values(_columns(record)).returning(OBJECTS.c.id))
        object_id: int = inserted.scalar_one()
        await self._index(object_id, entries, frozenset())
        await self._note(EventType.ADDED, record, None, entries, frozenset())
        if body["metadata"].get("ownerReferences"):
            if await self._collector.is_orphan(body):
                await self.remove(Stored(object_id, record, json.loads(record.body)))
            await self._collector.touched(body)
            await self._collector.run()
        return record

    async def update(self, stored: Stored, body: Json) -> Record:
        """The object with another body; gone when that was deleted and has no finalizers left.

        A body equal to the stored one writes nothing and gives the stored record.
        """
        if body == stored.body:
            return stored.record
        if is_finished(body) and stored.record.key.kind != NAMESPACE:
            await self.remove(stored, body)
            return record_of(body)
        record = record_of(with_version(body, await self._next_version()))
        fields = self.selectable(record.key.kind)
        entries, previous = index_entries(body, fields), index_entries(stored.body, fields)
        await self.connection.execute(update(OBJECTS).where(OBJECTS.c.id == stored.id).values(_columns(record)))
        await self._index(stored.id, entries, previous)
        await self._note(EventType.MODIFIED, record, stored.record, entries, previous)
        self._collector.waits(body)
        released = stored.body["metadata"].get("finalizers") and not body["metadata"].get("finalizers")
        if record.key.kind == NAMESPACE and released:
            await self.termination.settle(record.key.name)
        owners, before = (b["metadata"].get("ownerReferences") for b in (body, stored.body))
        if owners != before:
            await self._collector.touched(stored.body, body)
        await self._collector.run()
        return record

    async def delete(self, stored: Stored, propagation: Propagation | None = None) -> tuple[Record, bool]:
        """The object marked, or gone when no finalizer holds it; which of both.

        A mark may be all that is seen of it: the collector's own finalizers are often gone when this returns.
        """
        if stored.record.key.kind == NAMESPACE:
            return await self.termination.begin(stored), False
        dying = doomed(stored.body, propagation)
        if dying["metadata"].get("finalizers"):
            return await self.update(stored, marked(dying, self.now)), False
        await self.remove(stored)
        return stored.record, True

    async def remove(self, stored: Stored, last: Json | None = None) -> None:
        """Take the object away, and what it alone owned with it. `last` is its state, when not the stored one."""
        body = stored.body if last is None else last
        record = record_of(with_version(body, await self._next_version()))
        entries = index_entries(stored.body, self.selectable(record.key.kind))
        await self.connection.execute(delete(OBJECT_INDEX).where(OBJECT_INDEX.c.object_id == stored.id))
        await self.connection.execute(delete(OBJECTS).where(OBJECTS.c.id == stored.id))
        await self._note(EventType.DELETED, record, stored.record, entries, entries)
        self._collector.gone(record)
        await self._collector.touched(stored.body)
        await self._collector.run()
        if record.key.namespace:
            await self.termination.settle(record.key.namespace)

    async def compact(self, retention: Retention) -> None:
        """Forget history beyond `retention`."""
        newest = select(REVISION.c.value).scalar_subquery()
        expired = (
            select(func.max(CHANGES.c.resource_version))
            .where(CHANGES.c.at < self.now - timedelta(seconds=retention.seconds))
            .scalar_subquery()
        )
        await self.connection.execute(
            delete(CHANGES).where(
                CHANGES.c.resource_version <= newest - retention.at_least,
                (CHANGES.c.resource_version <= newest - retention.at_most) | (CHANGES.c.resource_version <= expired),
            )
        )

    async def _next_version(self) -> int:
        raised = await self.connection.execute(
            update(REVISION).where(REVISION.c.id == 1).values(value=REVISION.c.value + 1).returning(REVISION.c.value)
        )
        version: int = raised.scalar_one()
        return version

    async def _index(self, object_id: int, entries: Entries, previous: Entries) -> None:
        for key, value in previous - entries:
            await self.connection.execute(
                delete(OBJECT_INDEX).where(
                    OBJECT_INDEX.c.object_id == object_id, OBJECT_INDEX.c.key == key, OBJECT_INDEX.c.value == value
                )
            )
        added = [{"object_id": object_id, "key": key, "value": value} for key, value in sorted(entries - previous)]
        if added:
            await self.connection.execute(insert(OBJECT_INDEX), added)

    async def _note(
        self, type_: EventType, record: Record, previous: Record | None, entries: Entries, previous_entries: Entries
    ) -> None:
        await self.connection.execute(
            insert(CHANGES).values(
                resource_version=record.resource_version,
                at=self.now,
                type=type_.value,
                kind=record.key.kind,
                namespace=record.key.namespace,
                name=record.key.name,
                body=record.body,
                previous=previous.body if previous is not None else None,
            )
        )
        self.changes.append(Change(Event(type_, record, previous), entries, previous_entries))


def _columns(record: Record) -> dict[str, object]:
    return {
        "kind": record.key.kind,
        "namespace": record.key.namespace,
        "name": record.key.name,
        "uid": record.uid,
        "resource_version": record.resource_version,
        "generation": record.generation,
        "labels": json.dumps(record.labels, separators=(",", ":")) if record.labels else "{}",
        "body": record.body,
    }


LISTED = tuple(
    OBJECTS.c[c] for c in ("kind", "namespace", "name", "uid", "resource_version", "generation", "labels", "body")
)
"""The columns that make a record."""


def record_of_row(row: AnyRow) -> Record:
    """A record from a row that begins with `LISTED`. By position: names cost a third of a list's time."""
    kind, namespace, name, uid, version, generation, labels, body = row[:8]
    return Record(
        Key(kind, namespace, name), uid, version, generation, json.loads(labels) if labels != "{}" else {}, body
    )


class Rows(Sequence[Record]):
    """Rows of `LISTED` as records, each made when it is looked at: a list of whole objects only needs their bytes."""

    def __init__(self, rows: Sequence[AnyRow]) -> None:
        self._rows = rows

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [record_of_row(row) for row in self._rows[index]]
        return record_of_row(self._rows[index])

    def __len__(self) -> int:
        return len(self._rows)

    def bodies(self) -> list[bytes]:
        """See `interface.Page.bodies`."""
        return [row[7] for row in self._rows]


def _stored(row: AnyRow) -> Stored:
    return Stored(row.id, record_of_row(row), json.loads(row.body))
