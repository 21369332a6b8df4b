"""Watches: committed changes, fanned out in their order to whoever reads along.

The feed delivers every version once and in order. A change that this process commits is handed over directly when it
is the next version; when it isn't (another process wrote in between), the gap is read from the history, as it is
once a second for what others write while this process writes nothing. So each event is made once for all watchers.

A watcher starts with the history between the version it asks for and the feed's head at its registration, and goes on
with what the feed delivers after that head: no gap, no duplicate.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Sequence

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import ExpiredError
from litefleet_controller.store.interface import Event, EventType, Query
from litefleet_controller.store.records import decoded, index_entries, record_of, with_version
from litefleet_controller.store.selectors import matches
from litefleet_controller.store.tables import CHANGES, REVISION, AnyRow
from litefleet_controller.store.transaction import Change, Selectable

_CHUNK = 500
_log = structlog.get_logger()


class Watcher:
    """An AsyncIterator of events for one reader. `aclose()` ends it, also while another task waits in it."""

    def __init__(self, feed: "ChangeFeed", query: Query, since: int | None, capacity: int) -> None:
        self.query = query
        self._feed = feed
        self._since = since
        self._replayed: int | None = since
        self._joined = feed.head
        """The feed's head when this watcher registered: history up to it is replayed, the rest arrives by `offer`."""
        self._capacity = capacity
        self._ready: deque[Event] = deque()
        self._history: deque[Event] = deque()
        self._failure: ExpiredError | None = None
        self._closed = False
        self._wake = asyncio.Event()

    def __aiter__(self) -> "Watcher":
        return self

    async def __anext__(self) -> Event:
        await self._feed.follow()
        while not self._closed:
            if self._failure is not None:
                raise self._failure
            if self._history:
                return self._history.popleft()
            if self._joined is not None and self._replayed is not None and self._replayed < self._joined:
                await self._replay(self._replayed, self._joined)
            elif self._ready:
                return self._ready.popleft()
            else:
                self._wake.clear()
                await self._wake.wait()
        raise StopAsyncIteration

    def ready(self, limit: int) -> list[Event]:
        """Events that are there already, so that a reader may pass on many at once; none of them comes again."""
        if self._closed or self._failure is not None or self._behind():
            return []
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def aclose(self) -> None:
        """End it. Twice is once."""
        self._closed = True
        self._ready.clear()
        self._history.clear()
        self._wake.set()
        self._feed.leave(self)

    def join(self, head: int) -> None:
        """The feed's head has become known."""
        if self._joined is None:
            self._joined = head

    def offer(self, change: Change) -> None:
        """A change after the version that this watcher joined at."""
        if self._since is not None and change.event.record.resource_version <= self._since:
            return
        event = seen(change, self.query)
        if event is None or self._failure is not None:
            return
        if len(self._ready) >= self._capacity:
            self.fail(ExpiredError(self._ready[0].record.resource_version, change.event.record.resource_version))
            return
        self._ready.append(event)
        self._wake.set()

    def fail(self, error: ExpiredError) -> None:
        """End it with an error."""
        self._failure = error
        self._ready.clear()
        self._wake.set()
        self._feed.leave(self)

    def _behind(self) -> bool:
        """Whether history comes before what is ready."""
        replaying = self._joined is None or (self._replayed is not None and self._replayed < self._joined)
        return bool(self._history) or replaying

    async def _replay(self, position: int, until: int) -> None:
        changes, position = await self._feed.history(self.query, position, until)
        self._replayed = position
        self._history.extend(e for e in (seen(c, self.query) for c in changes) if e is not None)


class ChangeFeed:
    """Delivers committed changes to watchers."""

    def __init__(self, database: Database, selectable: Selectable, *, poll_s: float, capacity: int) -> None:
        self.head: int | None = None
        """Every version up to here was delivered. None until the first is known."""
        self._database = database
        self._selectable = selectable
        self._poll_s = poll_s
        self._capacity = capacity
        self._watchers: set[Watcher] = set()
        self._behind = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    def watch(self, query: Query, since: int | None) -> Watcher:
        """A watcher of what changes after `since` (None: from now)."""
        watcher = Watcher(self, query, since, self._capacity)
        self._watchers.add(watcher)
        return watcher

    def publish(self, changes: Sequence[Change]) -> None:
        """What this process has just committed."""
        if not changes:
            return
        first, last = (c.event.record.resource_version for c in (changes[0], changes[-1]))
        if not self._watchers:
            self.head = last
        elif self.head is None or self.head == first - 1:
            self._set_head(first - 1)
            self._deliver(changes)
        else:
            self._behind.set()

    def leave(self, watcher: Watcher) -> None:
        """It reads no more."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._behind.set()

    async def follow(self) -> None:
        """See to it that the head is known and other processes' changes are looked for."""
        if self._follower is not None and not self._follower.done():
            return
        async with self._starting:
            if self.head is None:
                async with self._database.reading() as connection:
                    newest: int = (await connection.execute(select(REVISION.c.value))).scalar_one()
                if self.head is None:
                    self._set_head(newest)
            if self._watchers and (self._follower is None or self._follower.done()):
                self._follower = asyncio.create_task(self._run(), name="store-change-feed")

    async def close(self) -> None:
        """End all watchers and the following."""
        for watcher in list(self._watchers):
            await watcher.aclose()
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    async def history(self, query: Query, since: int, until: int) -> tuple[list[Change], int]:
        """Changes of the query's kind in (since, until], as many as one read brings, and the version reached.

        Raises:
            ExpiredError: some of them are forgotten.
        """
        wanted = (
            select(CHANGES)
            .where(
                CHANGES.c.resource_version > since, CHANGES.c.resource_version <= until, CHANGES.c.kind == query.kind
            )
            .order_by(CHANGES.c.resource_version)
            .limit(_CHUNK)
        )
        async with self._database.reading() as connection:
            oldest: int | None = (await connection.execute(select(func.min(CHANGES.c.resource_version)))).scalar()
            if oldest is not None and since < oldest - 1:
                raise ExpiredError(since, oldest)
            rows = (await connection.execute(wanted)).all()
        changes = [self._change(row) for row in rows]
        return changes, rows[-1].resource_version if len(rows) == _CHUNK else until

    async def _run(self) -> None:
        while self._watchers:
            try:
                await self._catch_up()
            except (SQLAlchemyError, OSError) as e:
                _log.warning("change_feed_read_failed", error=str(e))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._behind.wait()
            self._behind.clear()

    async def _catch_up(self) -> None:
        while self.head is not None and self._watchers:
            wanted = (
                select(CHANGES)
                .where(CHANGES.c.resource_version > self.head)
                .order_by(CHANGES.c.resource_version)
                .limit(_CHUNK)
            )
            async with self._database.reading() as connection:
                rows = (await connection.execute(wanted)).all()
            self._deliver([c for c in map(self._change, rows) if c.event.record.resource_version > self.head])
            if len(rows) < _CHUNK:
                return

    def _deliver(self, changes: Sequence[Change]) -> None:
        for change in changes:
            version = change.event.record.resource_version
            if self.head is not None and version != self.head + 1:
                for watcher in list(self._watchers):
                    watcher.fail(ExpiredError(self.head, version))
            self.head = version
            for watcher in list(self._watchers):
                if watcher.query.kind == change.event.record.key.kind:
                    watcher.offer(change)

    def _set_head(self, head: int) -> None:
        self.head = head
        for watcher in self._watchers:
            watcher.join(head)

    def _change(self, row: AnyRow) -> Change:
        fields = self._selectable(row.kind)
        event = Event(
            EventType(row.type), decoded(row.body), decoded(row.previous) if row.previous is not None else None
        )
        entries = index_entries(json.loads(row.body), fields)
        return Change(event, entries, index_entries(json.loads(row.previous), fields) if row.previous else frozenset())


def seen(change: Change, query: Query) -> Event | None:
    """The event as the query's selectors see it: leaving them is DELETED, entering them ADDED."""
    event = change.event
    key = event.record.key
    now = event.type is not EventType.DELETED and matches(query, key.namespace, key.name, change.entries)
    before = event.previous is not None and matches(query, key.namespace, key.name, change.previous_entries)
    if before and now:
        return event
    if now:
        return event if event.type is EventType.ADDED else Event(EventType.ADDED, event.record, None)
    if not before:
        return None
    if event.type is EventType.DELETED or event.previous is None:
        return event
    left = record_of(with_version(event.previous.json(), event.record.resource_version))
    return Event(EventType.DELETED, left, event.previous)
