"""Events, in both of Kubernetes' forms: core/v1, and events.k8s.io/v1 with newer names for the same things.

The store keeps the older form, which the controller writes and `kubectl describe` reads. Newer clients ask for the
newer one: it is made here on the way out, and turned back on the way in.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from litefleet_controller.api.ages import age_of
from litefleet_controller.api.served import ALL_VERBS, Served, of_kind
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.event import EVENT, NEW_NAMES
from litefleet_controller.resources.kind import Kind
from litefleet_controller.resources.schema import compile_schema
from litefleet_controller.store.interface import (
    OWN_MANAGER,
    Applied,
    Deletion,
    Event,
    FieldRequirement,
    Json,
    Key,
    Objects,
    Page,
    Patch,
    Propagation,
    Query,
    Record,
    Stream,
    Subresource,
)


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
        about.get("fieldPath", ""),
        (event.get("source") or {}).get("component") or event.get("reportingComponent", ""),
        str(event.get("message", "")).strip(),
        age_of(first, now),
        count,
        event.get("metadata", {}).get("name", ""),
    ]


_OLD_NAMES = {new: old for old, new in NEW_NAMES.items()}


def _cells(event: Mapping[str, Any], now: datetime) -> list[Any]:
    return event_cells(as_core(event), now)


def _new_kind() -> Kind:
    document = EVENT.schema.document
    properties = {NEW_NAMES.get(name, name): inner for name, inner in document["properties"].items()}
    schema = compile_schema({**document, "properties": properties}, embedded=True, structs=True)
    fields = tuple(f".{_new_path(field.removeprefix('.'))}" for field in EVENT.selectable_fields)
    return replace(EVENT, group="events.k8s.io", schema=schema, selectable_fields=fields, judge=None, complete=None)


def _new_path(path: str) -> str:
    head, dot, rest = path.partition(".")
    return f"{NEW_NAMES.get(head, head)}{dot}{rest}"


EVENTS = replace(of_kind(EVENT), cells=event_cells, verbs=ALL_VERBS)
NEW_EVENTS: Served = replace(of_kind(_new_kind()), cells=_cells, verbs=ALL_VERBS)


def as_new(event: Mapping[str, Any]) -> Json:
    """A core/v1 Event in the form of events.k8s.io/v1."""
    renamed = {NEW_NAMES.get(name, name): value for name, value in event.items()}
    for name in ("reportingController", "reportingInstance"):
        if not renamed.get(name):
            renamed.pop(name, None)
    return {"eventTime": None, **renamed, "apiVersion": NEW_EVENTS.api_version}


def as_core(event: Mapping[str, Any]) -> Json:
    """The way back, for parts of an Event too."""
    renamed = {_OLD_NAMES.get(name, name): value for name, value in event.items()}
    return {**renamed, "apiVersion": EVENTS.api_version} if "apiVersion" in event else renamed


def _inward(event: Json) -> Json:
    """With the older names, but still saying that it came with the newer: managedFields keep that."""
    return {**as_core(event), "apiVersion": NEW_EVENTS.api_version}


class NewEvents:
    """`Objects` whose events have their newer form."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, key: Key) -> Record:
        """See `Objects.get`."""
        return _renamed(await self._objects.get(key))

    async def list(self, query: Query) -> Page:
        """See `Objects.list`."""
        page = await self._objects.list(_old_fields(query))
        return replace(page, records=[_renamed(r) for r in page.records])

    def watch(self, query: Query, since: int | None) -> Stream[Event]:
        """See `Objects.watch`."""
        return _Renaming(self._objects.watch(_old_fields(query), since))

    async def resource_version(self) -> int:
        """See `Objects.resource_version`."""
        return await self._objects.resource_version()

    async def create(self, body: Json, *, manager: str = OWN_MANAGER, dry_run: bool = False) -> Record:
        """See `Objects.create`. The newer form requires more than the older.

        Raises:
            InvalidError: without eventTime, or of an unknown type.
        """
        _check_new(body)
        return _renamed(await self._objects.create(_inward(body), manager=manager, dry_run=dry_run))

    async def replace(
        self,
        key: Key,
        body: Json,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """See `Objects.replace`."""
        done = self._objects.replace(key, _inward(body), subresource=subresource, manager=manager, dry_run=dry_run)
        return _renamed(await done)

    async def patch(
        self,
        key: Key,
        patch: Patch,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """See `Objects.patch`."""
        done = self._objects.patch(key, _old_patch(patch), subresource=subresource, manager=manager, dry_run=dry_run)
        return _renamed(await done)

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
        """See `Objects.apply`."""
        done = await self._objects.apply(
            key, as_core(body), manager=manager, force=force, subresource=subresource, dry_run=dry_run
        )
        return replace(done, record=_renamed(done.record))

    async def mutate(
        self,
        key: Key,
        change: Callable[[Json], Json | None],
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
    ) -> Record:
        """See `Objects.mutate`."""

        def changed(body: Json) -> Json | None:
            new = change(as_new(body))
            return None if new is None else as_core(new)

        return _renamed(await self._objects.mutate(key, changed, subresource=subresource, manager=manager))

    async def delete(
        self,
        key: Key,
        *,
        uid: str | None = None,
        resource_version: int | None = None,
        propagation: Propagation | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """See `Objects.delete`."""
        done = await self._objects.delete(
            key, uid=uid, resource_version=resource_version, propagation=propagation, dry_run=dry_run
        )
        return replace(done, record=_renamed(done.record))


class _Renaming:
    """A stream of events in their newer form."""

    def __init__(self, events: Stream[Event]) -> None:
        self._events = events

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await anext(self._events)
        return replace(event, record=_renamed(event.record))

    async def aclose(self) -> None:
        """See `Stream.aclose`."""
        await self._events.aclose()


def _check_new(event: Json) -> None:
    causes = []
    if not event.get("eventTime"):
        causes.append(Cause("eventTime", "FieldValueRequired", "Required value", "Required"))
    if event.get("type") not in ("Normal", "Warning"):
        text = f'Invalid value: "": has invalid value: {str(event.get("type", ""))[:60]}'
        causes.append(Cause("type", "FieldValueInvalid", text, "Invalid"))
    if causes:
        raise InvalidError("Event", str(event["metadata"].get("name", "")), causes)


def _renamed(record: Record) -> Record:
    return replace(record, body=msgspec.json.encode(as_new(record.json())))


def _old_patch(patch: Patch) -> Patch:
    """A patch of the newer form as one of the older: only names at the root differ."""
    if patch.type != "json":
        return replace(patch, body=as_core(patch.body))
    return replace(patch, body=[_old_operation(operation) for operation in patch.body])


def _old_operation(operation: Json) -> Json:
    pointers = {k: _old_pointer(v) for k, v in operation.items() if k in ("path", "from") and isinstance(v, str)}
    return {**operation, **pointers}


def _old_pointer(pointer: str) -> str:
    first, *rest = pointer.split("/")[1:] or [""]
    return "/".join(["", _OLD_NAMES.get(first, first), *rest]) if pointer else pointer


def _old_fields(query: Query) -> Query:
    return replace(query, fields=tuple(_old_field(f) for f in query.fields))


def _old_field(requirement: FieldRequirement) -> FieldRequirement:
    head, dot, rest = requirement.path.partition(".")
    return replace(requirement, path=f"{_OLD_NAMES.get(head, head)}{dot}{rest}")
