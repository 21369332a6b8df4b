"""Log entries in: queued, decoded, stored in batches, and acknowledged once they are durable.

A board has one message under way at a time and sends it again until it is acknowledged; so what doesn't fit, or can't
be stored now, is simply left out. More than a few messages of one board in the queue come from no agent of ours: they
are dropped, and no board can crowd out the others.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.boardlog.rows import Row, bound, insert, row_of
from litefleet_controller.telemetry.ingest import Places
from litefleet_controller.telemetry.seldom import Seldom
from litefleet_controller.telemetry.storing import store_at_last
from litefleet_protocol import codec
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import MAX_LOG_BYTES, MAX_LOG_ENTRIES
from litefleet_protocol.messages import Ack, DeviceLog, Stream

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much is gathered, how long, and how much is kept."""

    lines: int = 2_000
    """Entries kept of a board, the newest."""
    batch: int = 50
    """Messages in one transaction."""
    wait_s: float = 0.2
    max_queued: int = 2_000
    max_queued_of_board: int = 4
    backoff_s: tuple[float, float] = (0.2, 10.0)


@dataclass(frozen=True, slots=True)
class _Arrival:
    device: str
    payload: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class _Message:
    """One message, ready to be stored."""

    device: str
    namespace: str
    rows: list[Row]
    ack: Ack


class LogIngest:
    """Takes messages from the link. `run()` stores them."""

    def __init__(
        self,
        database: Database,
        places: Places,
        ack: Callable[[str, Ack], None],
        *,
        clock: Callable[[], datetime],
        limits: LogLimits = LogLimits(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ack` queues an acknowledgement."""
        self._database = database
        self._places = places
        self._ack = ack
        self._clock = clock
        self._limits = limits
        self._queue: deque[_Arrival] = deque()
        self._queued: Counter[str] = Counter()
        self._some = asyncio.Event()
        self._seldom = Seldom(monotonic)
        self.dropped: Counter[str] = Counter()
        """Messages not stored, by reason."""

    def offer(self, device: str, payload: bytes) -> None:
        """Queue a message as it came; dropped when the queue, or the board's part of it, is full. Never waits."""
        limits = self._limits
        if len(self._queue) >= limits.max_queued or self._queued[device] >= limits.max_queued_of_board:
            self._drop("QueueFull", device, "more than is stored in time; the board will send it again")
            return
        self._queue.append(_Arrival(device, payload, self._clock()))
        self._queued[device] += 1
        self._some.set()

    async def run(self) -> None:
        """Store. Until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(self._limits.wait_s)
            messages = await self._read(self._next_batch())
            if messages:
                await store_at_last(messages, self._store, self._give_up, backoff_s=self._limits.backoff_s)

    def _next_batch(self) -> list[_Arrival]:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._limits.batch))]
        self._queued.subtract(a.device for a in batch)
        self._queued = +self._queued
        if not self._queue:
            self._some.clear()
        return batch

    async def _read(self, batch: Sequence[_Arrival]) -> list[_Message]:
        messages = []
        for arrival in batch:
            try:
                messages.append(await self._message(arrival))
            except ProtocolError as e:
                self._drop(e.code, arrival.device, str(e))
            except Exception:
                # The edge of the loop: a board that can't be looked up now sends again.
                log.exception("device_log_unplaced", device=arrival.device)
                self.dropped[Code.INTERNAL] += 1
        return messages

    async def _message(self, arrival: _Arrival) -> _Message:
        entries = codec.decode(DeviceLog, arrival.payload, max_bytes=MAX_LOG_BYTES).entries
        if not 0 < len(entries) <= MAX_LOG_ENTRIES:
            raise ProtocolError(Code.BAD_MESSAGE, f"{len(entries)} log entries; 1 to {MAX_LOG_ENTRIES} are taken")
        place = await self._places.locate(arrival.device)
        if place is None:
            raise ProtocolError(Code.WRONG_DEVICE, "no such Device")
        rows = [
            row_of(entry, device=arrival.device, namespace=place.namespace, received_at=arrival.at) for entry in entries
        ]
        last = entries[-1]
        ack = Ack(boot_id=last.boot_id, sequence=last.sequence, stream=Stream.LOG)
        return _Message(arrival.device, place.namespace, rows, ack)

    def _give_up(self, message: _Message, reason: str) -> None:
        """It is acknowledged all the same: else its board would be stuck."""
        self._drop("Unstorable", message.device, reason)
        self._ack(message.device, message.ack)

    async def _store(self, messages: Sequence[_Message]) -> None:
        async with self._database.writing() as session:
            connection = await session.connection()
            await insert(connection, [row for message in messages for row in message.rows])
            await bound(connection, {(m.namespace, m.device) for m in messages}, self._limits.lines)
        for message in messages:
            self._ack(message.device, message.ack)

    def _drop(self, reason: str, device: str, message: str) -> None:
        self.dropped[reason] += 1
        if self._seldom.may_speak(reason):
            log.warning(
                "device_log_dropped", reason=reason, device=device, message=message, so_far=self.dropped[reason]
            )
