"""Objects in SQL: the implementation of `interface.Objects`.

Every write reads and writes in one transaction that holds the write lock, so nothing is ever retried: a concurrent
writer waits, and a precondition is compared with what is really there. The rules are in lifecycle, patching and
selectors; rows and history in transaction; watches in watching.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from litefleet_controller.resources.admission import Cause, InvalidError, prune
from litefleet_controller.resources.kind import Kind
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.apply.applying import apply
from litefleet_controller.store.apply.managers import encode
from litefleet_controller.store.apply.shapes import whole
from litefleet_controller.store.apply.tracking import Writer, settled, tracked, with_entries
from litefleet_controller.store.database import Database
from litefleet_controller.store.endings import Endings
from litefleet_controller.store.errors import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionError,
)
from litefleet_controller.store.interface import (
    OWN_MANAGER,
    Applied,
    Deletion,
    Json,
    Key,
    OnUnknown,
    Page,
    Patch,
    Propagation,
    Query,
    Record,
    Subresource,
)
from litefleet_controller.store.lifecycle import check_version, completed, created, doomed, updated
from litefleet_controller.store.past import PastList
from litefleet_controller.store.patching import apply_patch
from litefleet_controller.store.records import Stored, key_of, record_of, timestamp, without_version
from litefleet_controller.store.selectors import after, check_fields, condition
from litefleet_controller.store.tables import OBJECTS, REVISION
from litefleet_controller.store.termination import KIND as NAMESPACE
from litefleet_controller.store.termination import Farewell, is_terminating, nothing_more
from litefleet_controller.store.transaction import LISTED, ObjectTransaction, Retention, Rows, record_of_row
from litefleet_controller.store.watching import ChangeFeed, Watcher

_NAME_ATTEMPTS = 8
_NO_BODY: Json = {}


class SqlObjects:
    """See `interface.Objects`. `aclose()` ends its watches; `resume()` belongs to a start."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        clock: Callable[[], datetime],
        uid: Callable[[], str],
        farewell: Farewell = nothing_more,
        retention: Retention = Retention(),  # noqa: B008  # frozen
        poll_s: float = 1.0,
        watch_capacity: int = 10_000,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._uid = uid
        self._farewell = farewell
        self._endings = Endings(self._end)
        self._retention = retention
        self._feed = ChangeFeed(database, self._selectable, poll_s=poll_s, capacity=watch_capacity)

    async def get(self, key: Key) -> Record:
        """See `interface.Objects.get`."""
        wanted = select(*LISTED).where(
            OBJECTS.c.kind == key.kind, OBJECTS.c.namespace == key.namespace, OBJECTS.c.name == key.name
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).first()
        if row is None:
            raise NotFoundError(key)
        return record_of_row(row)

    async def list(self, query: Query) -> Page:
        """See `interface.Objects.list`."""
        check_fields(query, self._selectable(query.kind))
        selected = condition(query)
        wanted = select(*LISTED).where(selected).order_by(OBJECTS.c.namespace, OBJECTS.c.name)
        if query.after is not None:
            wanted = wanted.where(after(query.after))
        if query.limit is not None:
            wanted = wanted.limit(query.limit)
        async with self._database.reading() as connection:
            version: int = (await connection.execute(select(REVISION.c.value))).scalar_one()
            if query.at is not None and query.at < version:
                return await PastList(connection, query, query.at, self._selectable(query.kind)).page()
            rows = (await connection.execute(wanted)).all()
            remaining = 0
            if rows and len(rows) == query.limit:
                rest = (
                    select(func.count())
                    .select_from(OBJECTS)
                    .where(selected, after((rows[-1].namespace, rows[-1].name)))
                )
                remaining = (await connection.execute(rest)).scalar_one()
        return Page(Rows(rows) if rows else [], version, remaining)

    async def create(self, body: Json, *, manager: str = OWN_MANAGER, dry_run: bool = False) -> Record:
        """See `interface.Objects.create`."""
        kind = self._kind(body.get("kind"))
        async with self.transaction() as writes:
            writer = _writer(kind, manager, writes.now, body=body)
            for attempt in range(_NAME_ATTEMPTS):
                new = created(kind, body, uid=self._uid(), now=writes.now)
                key = key_of(new)
                await writes.check_room(key)
                taken = await writes.load(key)
                if taken is None:
                    owned = completed(kind, tracked(whole(kind.schema), None, new, _entries_in(body), writer))
                    return record_of(owned) if dry_run else await writes.insert(owned)
                if "generateName" not in new["metadata"] or attempt == _NAME_ATTEMPTS - 1:
                    raise AlreadyExistsError(key, being_deleted="deletionTimestamp" in taken.body["metadata"])
        raise AssertionError("the loop returns or raises")

    async def replace(
        self,
        key: Key,
        body: Json,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """See `interface.Objects.replace`."""

        def replaced(kind: Kind, old: Json, now: datetime) -> Json:
            check_version(kind, key, body, old["metadata"]["resourceVersion"])
            return _updated(kind, old, body, _writer(kind, manager, now, subresource, body))

        return await self._update(key, replaced, dry_run=dry_run)

    async def patch(
        self,
        key: Key,
        patch: Patch,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """See `interface.Objects.patch`."""

        def patched(kind: Kind, old: Json, now: datetime) -> Json:
            body = apply_patch(old, patch, kind.schema)
            if patch.type == "json":
                body = _known(kind, body, patch.on_unknown)
            check_version(kind, key, body, old["metadata"]["resourceVersion"])
            return _updated(kind, old, body, _writer(kind, manager, now, subresource))

        return await self._update(key, patched, dry_run=dry_run)

    async def apply(
        self,
        key: Key,
        body: Json,
        *,
        manager: str,
        force: bool = False,
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Applied:
        """See `interface.Objects.apply`."""
        kind = self._kind(key.kind)
        async with self.transaction() as writes:
            writer = _writer(kind, manager, writes.now, subresource)
            stored = await writes.load(key)
            if stored is None and subresource:
                raise NotFoundError(key)
            if stored is None:
                await writes.check_room(key)
            live = None if stored is None else stored.body
            outcome = apply(whole(kind.schema), live, body, writer, force=force)
            if stored is None:
                new = created(kind, without_version(outcome.body), uid=self._uid(), now=writes.now)
                owned = completed(kind, with_entries(new, encode(outcome.managed, kind.versions)))
                return Applied(record_of(owned) if dry_run else await writes.insert(owned), created=True)
            if outcome.body["metadata"].get("resourceVersion"):
                check_version(kind, key, outcome.body, stored.body["metadata"]["resourceVersion"])
            new = updated(kind, stored.body, outcome.body, subresource)
            owned = settled(stored.body, new, outcome.managed, kind.versions)
            return Applied(record_of(owned) if dry_run else await writes.update(stored, owned), created=False)

    async def mutate(
        self,
        key: Key,
        change: Callable[[Json], Json | None],
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
    ) -> Record:
        """See `interface.Objects.mutate`. `change` runs once, inside the transaction: it must be quick."""

        def changed(kind: Kind, old: Json, now: datetime) -> Json:
            body = change(record_of(old).json())
            return old if body is None else _updated(kind, old, body, _writer(kind, manager, now, subresource))

        return await self._update(key, changed, dry_run=False)

    async def delete(
        self,
        key: Key,
        *,
        uid: str | None = None,
        resource_version: int | None = None,
        propagation: Propagation | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """See `interface.Objects.delete`."""
        async with self.transaction() as writes:
            stored = await self._stored(writes, key)
            _check_preconditions(stored.record, uid, resource_version)
            if dry_run:
                return Deletion(stored.record, gone=not doomed(stored.body, propagation)["metadata"].get("finalizers"))
            return Deletion(*await writes.delete(stored, propagation))

    def watch(self, query: Query, since: int | None) -> Watcher:
        """See `interface.Objects.watch`.

        Raises:
            FieldNotSelectableError: at once.
        """
        check_fields(query, self._selectable(query.kind))
        # The first object of a database has version 2: nothing ever happened between 0 and 1.
        return self._feed.watch(query, since if since is None else max(since, 1))

    async def resource_version(self) -> int:
        """See `interface.Objects.resource_version`."""
        async with self._database.reading() as connection:
            version: int = (await connection.execute(select(REVISION.c.value))).scalar_one()
        return version

    async def aclose(self) -> None:
        """End all watches, and stop what goes on by itself."""
        await self._endings.close()
        await self._feed.close()

    async def resume(self) -> None:
        """Go on with the namespaces whose end an earlier process didn't see."""
        for record in (await self.list(Query(NAMESPACE))).records:
            if is_terminating(record.json()):
                self._endings.start(record.key.name, 0)

    async def _end(self, name: str, after: int) -> int | None:
        """Another portion of a namespace's end; where to go on."""
        async with self._transaction() as writes:
            await writes.termination.go_on(name, after)
        return writes.termination.unfinished.get(name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ObjectTransaction]:
        """Writes that are committed and published together, for the store's other modules."""
        async with self._transaction() as writes:
            yield writes
        for name, row in writes.termination.unfinished.items():
            self._endings.start(name, row)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[ObjectTransaction]:
        async with self._database.writing() as session:
            connection = await session.connection()
            writes = ObjectTransaction(connection, self._clock(), self._selectable, self._qualified, self._farewell)
            yield writes
            if any(c.event.record.resource_version % self._retention.every == 0 for c in writes.changes):
                await writes.compact(self._retention)
        self._feed.publish(writes.changes)

    def status_written(self, stored: Stored, status: Json) -> Json:
        """The stored object with another status, for whoever writes it beside something else.

        Raises:
            InvalidError: the status doesn't fit the kind.
        """
        kind = self._kind(stored.record.key.kind)
        writer = _writer(kind, OWN_MANAGER, self._clock(), "status")
        return _updated(kind, stored.body, {"status": status}, writer)

    async def _update(self, key: Key, change: Callable[[Kind, Json, datetime], Json], *, dry_run: bool) -> Record:
        kind = self._kind(key.kind)
        async with self.transaction() as writes:
            stored = await self._stored(writes, key)
            new = change(kind, stored.body, writes.now)
            return record_of(new) if dry_run else await writes.update(stored, new)

    async def _stored(self, writes: ObjectTransaction, key: Key) -> Stored:
        stored = await writes.load(key)
        if stored is None:
            raise NotFoundError(key)
        return stored

    def _kind(self, name: object) -> Kind:
        kind = self._registry.kind(name) if isinstance(name, str) else None
        if kind is None:
            served = ", ".join(sorted(k.kind for k in self._registry))
            cause = Cause(
                "kind", "FieldValueNotSupported", f'Unsupported value: "{name}": supported values: {served}', "NotFound"
            )
            raise InvalidError(str(name), "", [cause])
        return kind

    def _qualified(self, name: str) -> str:
        kind = self._registry.kind(name)
        return name if kind is None else kind.qualified

    def _selectable(self, name: str) -> tuple[str, ...]:
        kind = self._registry.kind(name)
        return kind.selectable_fields if kind is not None else ()


def _updated(kind: Kind, old: Json, body: Json, writer: Writer) -> Json:
    """`old` after a write of `body`, and who owns what of it then."""
    new = updated(kind, old, body, writer.subresource)
    return tracked(whole(kind.schema), old, new, _entries_in(body), writer)


def _writer(kind: Kind, manager: str, now: datetime, subresource: Subresource = "", body: Json = _NO_BODY) -> Writer:
    """Of a write of `body`, which says in which version it comes."""
    version = body.get("apiVersion", "")
    other = version if version in kind.versions else ""
    return Writer(manager, timestamp(now), subresource, kind.has_status, other, kind.versions)


def _known(kind: Kind, body: Json, on_unknown: OnUnknown | None) -> Json:
    """What a JSON patch made of an object, without the fields that the kind doesn't have.

    Raises:
        InvalidError: there are some, and nobody wants to be told of them.
    """
    known, unknown = prune(kind, body)
    if on_unknown is not None:
        on_unknown(unknown)
    elif unknown:
        causes = [Cause(u.path, "FieldValueInvalid", f'unknown field "{u.path}"', "UnknownField") for u in unknown]
        raise InvalidError(kind.kind, key_of(body).name, causes)
    return known


def _entries_in(body: Json) -> Any:
    metadata = body.get("metadata")
    return metadata.get("managedFields") if isinstance(metadata, dict) else None


def _check_preconditions(record: Record, uid: str | None, resource_version: int | None) -> None:
    if uid is not None and uid != record.uid:
        message = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise PreconditionError(record.key, message)
    if resource_version is not None and resource_version != record.resource_version:
        message = (
            f"the ResourceVersion in the precondition ({resource_version}) does not match the ResourceVersion "
            f"in record ({record.resource_version}). The object might have been modified"
        )
        raise PreconditionError(record.key, message)
