"""What a board's log says: its end, or on and on as it grows. JSON-ready."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from litefleet_controller.resources.registry import DEVICE
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import Json, Key, Objects
from litefleet_controller.telemetry.boardlog.interface import BoardLogs, LogLine

MAX_LINES = 10_000
"""More than is ever kept of a board."""
_PORTION = 500


class BoardLog:
    """Reads for people."""

    def __init__(self, objects: Objects, logs: BoardLogs, *, look_s: float = 0.5) -> None:
        """`look_s`: between two looks for more when somebody follows; another replica may have stored it."""
        self._objects = objects
        self._logs = logs
        self._look_s = look_s

    async def lines(
        self, namespace: str, device: str, *, tail: int | None, since: datetime | None, after: int | None
    ) -> list[Json]:
        """The last `tail` entries (all by default) from `since` on, oldest first; with `after`, those behind that id.

        Raises:
            store.errors.NotFoundError: no such device.
        """
        await self._objects.get(Key(DEVICE.kind, namespace, device))
        most = MAX_LINES if tail is None else min(tail, MAX_LINES)
        if most == 0:
            return []
        if after is not None:
            return _shown(await self._logs.after(namespace, device, after, lines=most))
        return _shown(await self._logs.tail(namespace, device, lines=most, since=since))

    async def last_id(self, namespace: str, device: str) -> int:
        """The id of the newest entry, 0 when there is none: from where on everything is new."""
        newest = await self._logs.tail(namespace, device, lines=1)
        return newest[-1].id if newest else 0

    async def follow(self, namespace: str, device: str, after: int) -> AsyncIterator[list[Json]]:
        """Entries behind the id `after` as they come, until the device is gone."""
        while True:
            found = await self._logs.after(namespace, device, after, lines=_PORTION)
            if found:
                after = found[-1].id
                yield _shown(found)
                continue
            try:
                await self._objects.get(Key(DEVICE.kind, namespace, device))
            except NotFoundError:
                return
            await asyncio.sleep(self._look_s)


def _shown(lines: Sequence[LogLine]) -> list[Json]:
    return [
        {
            "id": line.id,
            "at": _time(line.at),
            "receivedAt": _time(line.received_at),
            "level": line.level,
            "event": line.event,
            "fields": dict(line.fields),
            "bootId": line.boot_id,
            "sequence": line.sequence,
            "monotonic": line.monotonic,
            "clockTrusted": line.clock_trusted,
        }
        for line in lines
    ]


def _time(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
