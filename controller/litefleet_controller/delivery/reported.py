"""What boards say of themselves, into the status of their Devices.

The newest report of a board replaces one that still waits, and a board that only repeats itself causes no write. An
in-memory view answers at once who is online and which desired state it follows: desired.py asserts by it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from litefleet_controller.delivery.desired import Echo
from litefleet_controller.delivery.device_status import (
    LAST_SEEN_EVERY_S,
    Said,
    VersionOf,
    changed_status,
    is_plausible,
    status_of,
)
from litefleet_controller.delivery.devices import KIND, Devices
from litefleet_controller.store.errors import NotFoundError, UnavailableError
from litefleet_controller.store.interface import Key, Objects, Query
from litefleet_controller.workqueue import WorkQueue
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import Presence, Reported

log = structlog.get_logger(__name__)

_WORKERS = 4
_RETRY_S = 1.0
_LOG_EVERY_S = 10.0
_FARTHEST_EPOCH_AHEAD = 2**32
"""A board that claims an epoch farther ahead lies: leaders raise it by one."""


class ReportedState:
    """Implements ingest.StateSink and desired.Echoes. `run()` writes."""

    def __init__(
        self,
        objects: Objects,
        devices: Devices,
        *,
        epoch: Callable[[], int | None],
        on_higher_epoch: Callable[[int], None],
        version_of: VersionOf = lambda _device, _slot, _artifact: "",
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_higher_epoch` hears of an epoch above ours: a leader must raise its own past it."""
        self._objects = objects
        self._devices = devices
        self._epoch = epoch
        self._on_higher_epoch = on_higher_epoch
        self._version_of = version_of
        self._clock = clock
        self._monotonic = monotonic
        self._said: dict[str, Said] = {}
        self._written: dict[str, tuple[dict[str, Any], float]] = {}
        self._work: WorkQueue[str] = WorkQueue()
        self._silent_until = 0.0
        self.dropped: Counter[str] = Counter()
        """Messages not kept, by reason."""

    async def load(self) -> None:
        """Remember the connections of before, so that a late will is known as one. Call once, before `run()`."""
        page = await self._objects.list(Query(KIND))
        for record in page.records:
            status = record.json().get("status") or {}
            if status.get("connectionId"):
                online = status.get("connection") == "Online"
                presence = Presence(online=online, connection=status["connectionId"])
                self._said.setdefault(record.key.name, Said(presence=presence))

    def reported(self, device: str, reported: Reported) -> None:
        """See ingest.StateSink."""
        if not is_plausible(reported) or self._is_beyond(reported.epoch):
            self.dropped[Code.BAD_MESSAGE] += 1
            return
        ours = self._epoch()
        if ours is not None and reported.epoch > ours:
            self._on_higher_epoch(reported.epoch)
        self._say(device, self._known(device).with_reported(reported))

    def presence(self, device: str, presence: Presence) -> None:
        """See ingest.StateSink."""
        known = self._known(device)
        said = known.with_presence(presence)
        if said is known:
            self.dropped["LateWill"] += 1
            return
        self._say(device, said)

    def echo(self, device: str) -> Echo | None:
        """See desired.Echoes."""
        said = self._said.get(device)
        if said is None:
            return None
        online = said.presence is not None and said.presence.online
        if said.reported is None:
            return Echo(online)
        return Echo(online, said.reported.epoch, said.reported.counter)

    def forget(self, device: str) -> None:
        """The board is no more."""
        self._said.pop(device, None)
        self._written.pop(device, None)

    async def run(self) -> None:
        """Write. Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for n in range(_WORKERS):
                tasks.create_task(self._work_off(), name=f"reported-{n}")

    def _known(self, device: str) -> Said:
        return self._said.get(device) or Said()

    def _say(self, device: str, said: Said) -> None:
        self._said[device] = said
        self._work.add(device)

    def _is_beyond(self, epoch: int) -> bool:
        return epoch > (self._epoch() or 0) + _FARTHEST_EPOCH_AHEAD

    async def _work_off(self) -> None:
        while True:
            device = await self._work.get()
            try:
                await self._write(device)
            except NotFoundError:
                self._unknown(device)
            except UnavailableError as e:
                self._put_off(device, e)
            except Exception:
                # The edge of the loop: whatever it is, it must not cost a board its status.
                log.exception("device_status_unwritten", device=device)
                self._work.add_after(device, _RETRY_S)
            finally:
                self._work.done(device)

    def _put_off(self, device: str, reason: UnavailableError) -> None:
        """Write later. Logged once in a while: it concerns every board that says anything."""
        self._work.add_after(device, _RETRY_S)
        now = self._monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _LOG_EVERY_S
            log.warning("device_statuses_put_off", reason=str(reason), device=device)

    async def _write(self, device: str) -> None:
        where = await self._devices.locate(device)
        said = self._said.get(device)
        if where is None or said is None:
            self._unknown(device)
            return
        status = status_of(device, said, self._version_of)
        written, at = self._written.get(device, ({}, 0.0))
        now = self._monotonic()
        if status == written and now - at < LAST_SEEN_EVERY_S:
            return

        def change(body: dict[str, Any]) -> dict[str, Any] | None:
            fresh = changed_status(body.get("status") or {}, status, self._clock(), body["metadata"]["generation"])
            return None if fresh is None else {**body, "status": fresh}

        await self._objects.mutate(Key(KIND, where.namespace, device), change, subresource="status")
        self._written[device] = (status, now)

    def _unknown(self, device: str) -> None:
        self.forget(device)
        self.dropped["UnknownDevice"] += 1
