"""Events, in both of Kubernetes' forms: core/v1, and events.k8s.io/v1 with newer names for the same things.

The store keeps the older form, which the controller writes and `kubectl describe` reads. Newer clients ask for the
newer one; it is made here, on the way out, and its field selectors are turned back on the way in.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from litefleet_controller.api.ages import age_of
from litefleet_controller.api.interface import Reader
from litefleet_controller.api.served import Served
from litefleet_controller.resources.registry import Column
from litefleet_controller.store.interface import Event, FieldRequirement, Json, Key, Page, Query, Record


def event_cells(event: Mapping[str, Any], now: datetime) -> list[Any]:
    """The columns of an Event."""
    about = event.get("involvedObject", {})
    first, last = event.get("firstTimestamp"), event.get("lastTimestamp") or event.get("firstTimestamp")
    last = last or event.get("eventTime")
    count = event.get("count") or 1
    seen = age_of(last, now)
    if count > 1:
        seen = f"{seen} (x{count} over {age_of(first, now)})"
    return [
        seen,
        event.get("type", ""),
        event.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        event.get("source", {}).get("component", ""),
        str(event.get("message", "")).strip(),
        age_of(first, now),
        count,
        event.get("metadata", {}).get("name", ""),
    ]


_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion")
EVENTS = Served(
    "", "v1", "Event", "events", "event", ("get", "list", "watch"),
    short_names=("ev",),
    columns=(
        Column("Last Seen", ".lastTimestamp", description="When it was last seen."),
        Column("Type", ".type", description="Normal or Warning."),
        Column("Reason", ".reason", description="A short, stable word for what happened."),
        Column("Object", ".involvedObject", description="The object that it is about."),
        Column("Source", ".source.component", description="The part of the controller that says so.", priority=1),
        Column("Message", ".message", description="In plain words."),
        Column("First Seen", ".firstTimestamp", description="When it was first seen.", priority=1),
        Column("Count", ".count", "integer", description="How often it was seen.", priority=1),
        Column("Name", ".metadata.name", priority=1),
    ),
    cells=event_cells,
    selectable_fields=frozenset(
        {"metadata.name", "metadata.namespace", "reason", "type", "reportingComponent"}
        | {f"involvedObject.{name}" for name in _ABOUT}
    ),
)  # fmt: skip

_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_OLD_NAMES = {new: old for old, new in _NAMES.items()}


def as_new(event: Mapping[str, Any]) -> Json:
    """A core/v1 Event in the form of events.k8s.io/v1."""
    renamed = {_NAMES.get(name, name): value for name, value in event.items()}
    return {"eventTime": None, **renamed, "apiVersion": NEW_EVENTS.api_version}


def as_core(event: Mapping[str, Any]) -> Json:
    """The way back."""
    return {**{_OLD_NAMES.get(name, name): value for name, value in event.items()}, "apiVersion": EVENTS.api_version}


def _cells(event: Mapping[str, Any], now: datetime) -> list[Any]:
    return event_cells(as_core(event), now)


NEW_EVENTS: Served = replace(
    EVENTS,
    group="events.k8s.io",
    cells=_cells,
    selectable_fields=frozenset(
        ".".join([_NAMES.get(head, head), *rest])
        for head, *rest in (field.split(".") for field in EVENTS.selectable_fields)
    ),
)


class NewEvents:
    """A `Reader` of events in their newer form."""

    def __init__(self, events: Reader) -> None:
        self._events = events

    async def get(self, key: Key) -> Record:
        """Raises: NotFoundError."""
        return _renamed(await self._events.get(key))

    async def list(self, query: Query) -> Page:
        """A page."""
        page = await self._events.list(_old_fields(query))
        return replace(page, records=[_renamed(r) for r in page.records])

    async def watch(self, query: Query, since: int | None) -> AsyncIterator[Event]:
        """Events after `since`."""
        events = self._events.watch(_old_fields(query), since)
        close: Callable[[], Awaitable[None]] | None = getattr(events, "aclose", None)
        try:
            async for event in events:
                yield replace(event, record=_renamed(event.record))
        finally:
            if close is not None:
                await close()

    async def resource_version(self) -> int:
        """The newest one."""
        return await self._events.resource_version()


def _renamed(record: Record) -> Record:
    return replace(record, body=msgspec.json.encode(as_new(record.json())))


def _old_fields(query: Query) -> Query:
    return replace(query, fields=tuple(_old_field(f) for f in query.fields))


def _old_field(requirement: FieldRequirement) -> FieldRequirement:
    head, dot, rest = requirement.path.partition(".")
    return replace(requirement, path=f"{_OLD_NAMES.get(head, head)}{dot}{rest}")
