"""Where a board belongs: its namespace and class by its name, which is unique in the fleet.

Topics name the board alone, so everything that comes in asks here. Kept in memory and fed by a watch; a miss asks the
store, because a board may speak before its own ADDED event was seen.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from litefleet_controller.store.errors import ExpiredError
from litefleet_controller.store.interface import EventType, FieldRequirement, Objects, Query, Record

log = structlog.get_logger(__name__)

KIND = "Device"
_MISS_S = 5.0
"""How long a name that the store doesn't know is not asked for again."""
_MISSES = 10_000


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """Where a board belongs."""

    namespace: str
    name: str
    device_class: str


class Devices(Protocol):
    """The look-up."""

    async def locate(self, device: str) -> DeviceRef | None:
        """None when there is no such board."""
        ...


class DeviceDirectory:
    """Implements `Devices` over the store. `run()` keeps it current."""

    def __init__(
        self,
        objects: Objects,
        *,
        on_change: Callable[[DeviceRef], None] = lambda _: None,
        on_gone: Callable[[DeviceRef], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` hears of a board that is new or has another class, `on_gone` of one that was deleted."""
        self._objects = objects
        self._on_change = on_change
        self._on_gone = on_gone
        self._monotonic = monotonic
        self._known: dict[str, DeviceRef] = {}
        self._missed: dict[str, float] = {}

    async def locate(self, device: str) -> DeviceRef | None:
        """See `Devices`."""
        known = self._known.get(device)
        if known is not None:
            return known
        now = self._monotonic()
        if self._missed.get(device, 0.0) > now:
            return None
        by_name = FieldRequirement("metadata.name", equal=True, value=device)
        page = await self._objects.list(Query(KIND, fields=(by_name,), limit=1))
        if page.records:
            return self._learn(page.records[0])
        if len(self._missed) >= _MISSES:
            self._missed.clear()
        self._missed[device] = now + _MISS_S
        return None

    async def run(self) -> None:
        """List, then follow the watch; again from the start when the history is gone. Until cancelled."""
        while True:
            try:
                page = await self._objects.list(Query(KIND))
                self._replace_all(page.records)
                await self._follow(page.resource_version)
            except ExpiredError:
                continue
            except Exception:
                log.exception("device_watch_failed")
                await asyncio.sleep(_MISS_S)

    async def _follow(self, since: int) -> None:
        events = self._objects.watch(Query(KIND), since)
        try:
            async for event in events:
                if event.type is EventType.DELETED:
                    self._forget(event.record)
                elif event.type is not EventType.BOOKMARK:
                    self._learn(event.record)
        finally:
            await events.aclose()

    def _replace_all(self, records: Sequence[Record]) -> None:
        present = {r.key.name for r in records}
        for name in self._known.keys() - present:
            self._on_gone(self._known.pop(name))
        for record in records:
            self._learn(record)

    def _learn(self, record: Record) -> DeviceRef:
        ref = _ref(record)
        if self._known.get(ref.name) != ref:
            self._known[ref.name] = ref
            self._missed.pop(ref.name, None)
            self._on_change(ref)
        return ref

    def _forget(self, record: Record) -> None:
        gone = self._known.pop(record.key.name, None)
        if gone is not None:
            self._on_gone(gone)


def _ref(record: Record) -> DeviceRef:
    spec = record.json().get("spec") or {}
    return DeviceRef(record.key.namespace, record.key.name, str(spec.get("class", "")))
