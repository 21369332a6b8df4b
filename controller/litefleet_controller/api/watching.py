"""A watch as an HTTP answer: newline-delimited events until the client goes, time is up, or the server stops.

The store encodes an object once; every watcher of whole objects sends those bytes in a thin frame, so that a hundred
watchers cost little more than one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Send

from litefleet_controller.api.errors import ApiError, status_of
from litefleet_controller.api.forms import ListMeta, Renderer
from litefleet_controller.api.interface import Reader
from litefleet_controller.api.options import ListOptions
from litefleet_controller.api.streaming import End, StreamedResponse, part
from litefleet_controller.store.errors import StoreError
from litefleet_controller.store.interface import Event, EventType, Record

BOOKMARK_INTERVAL_S = 60.0
LAST_BOOKMARK_S = 2.0
"""Before the time is up, so that the client's next watch begins late."""
MAX_AT_ONCE = 100
"""Events in one part: a slow client's buffer must not grow by thousands."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Framer:
    """Events as lines."""

    renderer: Renderer

    def event(self, type_: EventType, record: Record, *, first: bool) -> bytes:
        """A change. Only the first Table of a watch carries its columns."""
        if self.renderer.form.shape == "table":
            body = self.renderer.table([record], ListMeta(record.resource_version), columns=first)
        else:
            body = self.renderer.one(record)
        return b'{"type":"%s","object":%s}\n' % (type_.value.encode(), body)

    def bookmark(self, version: int, *, initial_events_end: bool = False) -> bytes:
        """How far the watch has come."""
        metadata: dict[str, object] = {"resourceVersion": str(version)}
        if initial_events_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        served = self.renderer.served
        bookmark: dict[str, object] = {"kind": served.kind, "apiVersion": served.api_version, "metadata": metadata}
        if self.renderer.form.shape == "table":
            bookmark = self._table_bookmark(version, metadata)
        return msgspec.json.encode({"type": "BOOKMARK", "object": bookmark}) + b"\n"

    def _table_bookmark(self, version: int, metadata: dict[str, object]) -> dict[str, object]:
        meta = f"meta.k8s.io/{self.renderer.form.meta_version}"
        about = {"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": metadata}
        return {
            "kind": "Table",
            "apiVersion": meta,
            "metadata": {"resourceVersion": str(version)},
            "columnDefinitions": None,
            "rows": [{"cells": self.renderer.empty_cells(), "object": about}],
        }

    @staticmethod
    def error(error: ApiError) -> bytes:
        """Why the watch ends here."""
        return msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n"


class WatchResponse(StreamedResponse):
    """The stream. Begins with the current objects where the options ask for them."""

    def __init__(self, reader: Reader, options: ListOptions, framer: Framer, ends: Sequence[End]) -> None:
        super().__init__(ends, options.timeout_s)
        self._reader = reader
        self._options = options
        self._framer = framer
        self._seen = options.version or 0
        self._first = True

    def beside(self, send: Send) -> Sequence[Coroutine[Any, Any, None]]:
        """Bookmarks."""
        return (self._bookmarks(send),) if self._options.bookmarks else ()

    async def pump(self, send: Send) -> None:
        """Send what there is, then what happens."""
        try:
            since = await self._initial(send)
            events = self._reader.watch(self._options.query, since)
            ready: Callable[[int], Sequence[Event]] = getattr(events, "ready", _nothing)
            async with _closing(events):
                async for event in events:
                    await self._send_events([event, *ready(MAX_AT_ONCE)], send)
        except StoreError as e:
            refusal = status_of(e, {})
            if refusal is None:
                raise
            await send(part(self._framer.error(refusal)))

    async def _initial(self, send: Send) -> int:
        """Send the current objects, if they are wanted; the version to go on from."""
        options = self._options
        if options.version and not options.send_initial_events:
            return options.version
        page = await self._reader.list(options.query)
        lines = []
        for record in page.records:
            lines.append(self._framer.event(EventType.ADDED, record, first=self._first))
            self._first = False
        if options.send_initial_events and options.bookmarks:
            lines.append(self._framer.bookmark(page.resource_version, initial_events_end=True))
        await send(part(b"".join(lines)))
        self._seen = page.resource_version
        return page.resource_version

    async def _send_events(self, events: Sequence[Event], send: Send) -> None:
        """What happened at once goes out at once: a part costs the server ten times what a line does."""
        lines = []
        for event in events:
            if event.type is not EventType.BOOKMARK:
                lines.append(self._framer.event(event.type, event.record, first=self._first))
                self._first = False
        if lines:
            await send(part(b"".join(lines)))
        self._seen = max(self._seen, events[-1].record.resource_version)  # after the send: no bookmark may overtake

    async def _bookmarks(self, send: Send) -> None:
        """From time to time, and shortly before the end, say how far it has come."""
        left = self._options.timeout_s
        while left > LAST_BOOKMARK_S:
            pause = min(BOOKMARK_INTERVAL_S, left - LAST_BOOKMARK_S)
            await asyncio.sleep(pause)
            left -= pause
            if self._seen:
                await send(part(self._framer.bookmark(self._seen)))


def _nothing(_limit: int) -> Sequence[Event]:
    return ()


@contextlib.asynccontextmanager
async def _closing(events: AsyncIterator[Event]) -> AsyncIterator[None]:
    """Close the iterator, as soon as the watch ends, if it is a generator; not when the collector comes by."""
    try:
        yield
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(events, "aclose", None)
        if close is not None:
            await close()
