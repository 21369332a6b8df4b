"""What must reach the controller's database: kept on the disk until the controller says that it is durable there.

Append-only segments of records `length, crc32, payload`; a kill may tear the last record, which is cut off at the next
start. `Ack{bootId, sequence}` trims; a segment goes when nothing in it is waiting. When the outbox is full its oldest
segment is dropped and counted. PUBACK means nothing here: it says that the broker has it.
"""

import struct
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.logs import EventLog

log = EventLog(__name__)
_HEADER = struct.Struct(">II")


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One message that waits."""

    boot_id: str
    sequence: int
    data: bytes


class OutboxLimits(Struct, frozen=True):
    """How much may wait, and how it is sent."""

    max_bytes: int = 8 * 1024 * 1024
    segment_bytes: int = 256 * 1024
    window: int = 16
    """Messages on their way at once."""
    resend_s: float = 30.0


class _Waiting(Struct):
    segment: Path
    offset: int
    size: int
    sent_at: float | None = None


class Outbox:
    """One directory of segments. Used by the main loop alone.

    What an earlier process left is looked at when the outbox is first needed: a board serves before that.
    """

    def __init__(self, disk: Disk, directory: Path, boot_id: str, limits: OutboxLimits = OutboxLimits()) -> None:
        self.boot_id = boot_id
        self.dropped = 0
        """Records lost because the outbox was full or its disk failed."""
        self._disk = disk
        self._directory = directory
        self._limits = limits
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._segments: dict[Path, int] = {}
        """Segment to its bytes, oldest first; the last one is written to once this boot has begun it."""
        self._active: Path | None = None
        self._sequence = 0
        self._next_segment = 0
        self._failing = False
        self._recovered = False

    def __len__(self) -> int:
        """Records that wait, once what was left is known."""
        return len(self._waiting)

    def next_sequence(self) -> int:
        """The sequence for the next record of this boot, from 1 on."""
        self._sequence += 1
        return self._sequence

    def append(self, sequence: int, data: bytes) -> None:
        """Keep a message, durably. One that the disk doesn't take is dropped and counted."""
        if not self._recover():
            self.dropped += 1
            return
        payload = msgspec.msgpack.encode(Record(self.boot_id, sequence, data))
        framed = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        path = self._segment_for(len(framed))
        offset = self._segments[path]
        try:
            self._disk.append(path, framed)
            if offset == 0:
                self._disk.sync(self._directory)  # or a power cut takes the new file back
        except OSError as e:
            if not self._failing:
                log.warning("outbox_not_written", error=e)
            self._failing = True
            self.dropped += 1
            self._give_up_tail(path, offset)
            return
        self._failing = False
        self._segments[path] = offset + len(framed)
        self._waiting[self.boot_id, sequence] = _Waiting(path, offset + _HEADER.size, len(payload))
        self._make_room()

    def due(self, now: float) -> list[Record]:
        """The next messages to send, oldest first: within the window, not on their way or silent for too long."""
        if not self._recover():
            return []
        on_their_way = 0
        records = []
        unreadable = []
        for key, waiting in self._waiting.items():
            if on_their_way == self._limits.window:
                break
            on_their_way += 1
            if waiting.sent_at is not None and now - waiting.sent_at < self._limits.resend_s:
                continue
            record = self._read(waiting)
            if record is None:
                unreadable.append(key)
                continue
            records.append(record)
        for key in unreadable:
            del self._waiting[key]
        self.dropped += len(unreadable)
        return records

    def _read(self, waiting: _Waiting) -> Record | None:
        try:
            payload = self._disk.read_at(waiting.segment, waiting.offset, waiting.size)
            return msgspec.msgpack.decode(payload, type=Record)
        except (OSError, msgspec.MsgspecError) as e:
            log.warning("outbox_record_lost", segment=waiting.segment.name, error=e)
            return None

    def sent(self, record: Record, now: float) -> None:
        """Note that a message is on its way."""
        waiting = self._waiting.get((record.boot_id, record.sequence))
        if waiting is not None:
            waiting.sent_at = now

    def reconnected(self) -> None:
        """Nothing is on its way any more."""
        for waiting in self._waiting.values():
            waiting.sent_at = None

    def acknowledge(self, boot_id: str, sequence: int) -> None:
        """Drop everything of `boot_id` up to and including `sequence`."""
        if not self._recover():
            return  # the controller acknowledges what it is sent again
        for key in [k for k in self._waiting if k[0] == boot_id and k[1] <= sequence]:
            del self._waiting[key]
        in_use = {w.segment for w in self._waiting.values()}
        for path in [p for p in self._segments if p not in in_use]:
            self._remove(path)

    def _segment_for(self, size: int) -> Path:
        active = self._active
        if active is None or self._segments[active] + size > self._limits.segment_bytes:
            active = self._directory / f"{self._next_segment:012d}.log"
            self._next_segment += 1
            self._active = active
            self._segments[active] = 0
        return active

    def _give_up_tail(self, path: Path, size: int) -> None:
        """Undo a failed write, so that neither torn records nor empty segments pile up on a full disk."""
        self._active = None  # should the tail stay all the same, it is behind us in a segment of its own
        if size == 0:
            self._remove(path)
            return
        try:
            self._disk.truncate(path, size)
        except OSError as e:
            log.warning("outbox_segment_not_cut", error=e)

    def _make_room(self) -> None:
        while sum(self._segments.values()) > self._limits.max_bytes and len(self._segments) > 1:
            oldest = next(iter(self._segments))
            lost = [k for k, w in self._waiting.items() if w.segment == oldest]
            for key in lost:
                del self._waiting[key]
            self.dropped += len(lost)
            log.warning("outbox_full", dropped=len(lost))
            self._remove(oldest)

    def _remove(self, path: Path) -> None:
        del self._segments[path]
        if path == self._active:
            self._active = None
        try:
            self._disk.remove(path)
        except OSError as e:
            log.warning("outbox_segment_not_removed", error=e)

    def _recover(self) -> bool:
        """Find what earlier processes left; False while the disk doesn't let us, to be tried again."""
        if self._recovered:
            return True
        try:
            self._disk.make_directory(self._directory)
            for path in self._disk.list(self._directory):
                self._recover_segment(path)
        except OSError as e:
            if not self._failing:
                log.warning("outbox_not_read", error=e)
            self._failing = True
            return False
        self._disk.settle(self._directory)
        self._failing = False
        self._recovered = True
        return True

    def _recover_segment(self, path: Path) -> None:
        if path.suffix != ".log" or not path.stem.isdecimal():
            return
        self._next_segment = max(self._next_segment, int(path.stem) + 1)
        data = self._disk.read(path) or b""
        offset = 0
        while (record := _record_at(data, offset)) is not None:
            size = _HEADER.unpack_from(data, offset)[0]
            self._waiting[record.boot_id, record.sequence] = _Waiting(path, offset + _HEADER.size, size)
            offset += _HEADER.size + size
        if offset < len(data):
            log.warning("outbox_segment_torn", segment=path.name, size=len(data), cut_to=offset)
            self._disk.truncate(path, offset)
        self._segments[path] = offset
        if offset == 0:
            self._remove(path)
        else:
            self._disk.settle(path)


def _record_at(data: bytes, offset: int) -> Record | None:
    """The record at `offset`; None at the end, or where a kill tore it."""
    if offset + _HEADER.size > len(data):
        return None
    size, checksum = _HEADER.unpack_from(data, offset)
    payload = data[offset + _HEADER.size : offset + _HEADER.size + size]
    if len(payload) != size or zlib.crc32(payload) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(payload, type=Record)
    except msgspec.MsgspecError:
        return None
