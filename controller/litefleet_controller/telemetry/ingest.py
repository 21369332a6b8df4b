"""Windows in: queued, decoded, stored in batches, and acknowledged once they are durable.

The queue is bounded in messages and bytes. What doesn't fit, or can't be stored now, isn't acknowledged, and the board
sends it again: so nothing here needs to be saved at any price, and a resent window that was stored already is
harmless. Times are this process's clock at receipt.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.decode import decode_window, is_untrusted
from litefleet_controller.telemetry.floors import Boot, Floors
from litefleet_controller.telemetry.rows import Row, insert_windows, read_floors, row_of, write_floors
from litefleet_controller.telemetry.seldom import Seldom
from litefleet_controller.telemetry.storing import store_at_last
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Ack

log = structlog.get_logger(__name__)


class Place(Protocol):
    """Where a board belongs."""

    @property
    def namespace(self) -> str:
        """The tenant."""
        ...

    @property
    def device_class(self) -> str:
        """The DeviceClass's name."""
        ...


class Places(Protocol):
    """The look-up by a board's name."""

    async def locate(self, device: str) -> Place | None:
        """None when there is no such board."""
        ...


@dataclass(frozen=True, slots=True)
class Batching:
    """How much is gathered and how long."""

    rows: int = 500
    wait_s: float = 0.2
    max_queued: int = 20_000
    max_queued_bytes: int = 64 * 1024 * 1024
    backoff_s: tuple[float, float] = (0.2, 10.0)


@dataclass(frozen=True, slots=True)
class _Arrival:
    device: str
    payload: bytes
    at: datetime


class TelemetryIngest:
    """Takes windows from the link. `run()` stores them."""

    def __init__(
        self,
        database: Database,
        places: Places,
        ack: Callable[[str, Ack], None],
        *,
        clock: Callable[[], datetime],
        rollout_of: Callable[[str, str, str], str | None] = lambda _device, _slot, _artifact: None,
        batching: Batching = Batching(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ack` queues an acknowledgement; `rollout_of` names the rollout that put an artifact into a board's slot."""
        self._database = database
        self._places = places
        self._ack = ack
        self._clock = clock
        self._rollout_of = rollout_of
        self._batching = batching
        self._monotonic = monotonic
        self._queue: deque[_Arrival] = deque()
        self._queued_bytes = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._floors = Floors()
        self._seldom = Seldom(monotonic)
        self.dropped: Counter[str] = Counter()
        """Whole windows not stored, by reason."""
        self.bad: Counter[str] = Counter()
        """Parts of stored windows that were left out, by code."""
        self.stored = 0
        """Windows stored, resent ones not counted again."""

    def offer(self, device: str, payload: bytes) -> None:
        """Queue a window as it came; dropped when the queue is full. Never waits."""
        batching = self._batching
        if len(self._queue) >= batching.max_queued or self._queued_bytes + len(payload) > batching.max_queued_bytes:
            self._drop("QueueFull", device, "the database is behind; the board will send it again")
            return
        self._queue.append(_Arrival(device, payload, self._clock()))
        self._queued_bytes += len(payload)
        self._some.set()
        if len(self._queue) >= batching.rows:
            self._enough.set()

    async def run(self) -> None:
        """Store. Until cancelled."""
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._batching.wait_s):
                    await self._enough.wait()
            rows = await self._rows(self._next_batch())
            if rows:
                await store_at_last(rows, self._store, self._give_up, backoff_s=self._batching.backoff_s)

    def _next_batch(self) -> list[_Arrival]:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batching.rows))]
        self._queued_bytes -= sum(len(a.payload) for a in batch)
        if not self._queue:
            self._some.clear()
        if len(self._queue) < self._batching.rows:
            self._enough.clear()
        return batch

    async def _rows(self, batch: Sequence[_Arrival]) -> list[Row]:
        rows: list[Row] = []
        for arrival in batch:
            try:
                row = await self._row(arrival)
            except ProtocolError as e:
                self._drop(e.code, arrival.device, str(e))
            except Exception:
                # The edge of the loop: a board that can't be looked up now sends again.
                log.exception("telemetry_unplaced", device=arrival.device)
                self.dropped["Internal"] += 1
            else:
                if row is not None:
                    rows.append(row)
        return rows

    async def _row(self, arrival: _Arrival) -> Row | None:
        decoded = decode_window(arrival.payload)
        place = await self._places.locate(arrival.device)
        if place is None:
            self._drop("UnknownDevice", arrival.device, "no such Device")
            return None
        self._leave_out(decoded.bad, arrival.device)
        window = decoded.window
        return row_of(
            window,
            device=arrival.device,
            namespace=place.namespace,
            device_class=place.device_class,
            rollout=self._rollout_of(arrival.device, window.slot, window.artifact) or None,
            received_at=arrival.at,
            clock_untrusted=is_untrusted(window, arrival.at.timestamp()),
        )

    async def _store(self, rows: Sequence[Row]) -> None:
        sequences: dict[Boot, list[int]] = {}
        for row in rows:
            sequences.setdefault((row["device"], row["boot_id"]), []).append(row["sequence"])
        async with self._database.writing() as session:
            unknown = self._floors.unknown(sequences)
            for boot, sequence in (await read_floors(session, unknown)).items():
                self._floors.learn(boot, sequence)
            stored = await insert_windows(session, rows)
            floors = self._floors.after(sequences, self._monotonic())
            await write_floors(session, {b: f.sequence for b, f in floors.items() if f.sequence >= 0}, self._clock())
        self.stored += stored
        self._floors.commit(floors)
        for (device, boot_id), floor in floors.items():
            if floor.sequence >= 0:
                self._ack(device, Ack(boot_id=boot_id, sequence=floor.sequence))

    def _give_up(self, row: Row, reason: str) -> None:
        self._drop("Unstorable", row["device"], reason)

    def _drop(self, reason: str, device: str, message: str) -> None:
        self.dropped[reason] += 1
        if self._seldom.may_speak(reason):
            details: dict[str, Any] = {"device": device, "message": message, "so_far": self.dropped[reason]}
            log.warning("telemetry_dropped", reason=reason, **details)

    def _leave_out(self, bad: Counter[str], device: str) -> None:
        """Count what was bad in a window that is stored all the same."""
        self.bad.update(bad)
        for code in bad:
            if self._seldom.may_speak(code):
                log.warning("telemetry_samples_left_out", code=code, device=device, so_far=self.bad[code])
