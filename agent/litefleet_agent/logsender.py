"""The journal's way to the controller: one message at a time, the next one when the last is acknowledged.

The journal itself is what waits, so nothing is kept twice, and what is lost of a long time offline is what the
journal's bound takes. How far it has come is remembered without waiting for the disk: forgetting it costs a repetition,
which the controller recognises. Used by the main loop alone.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.interface import Link
from litefleet_agent.journal import Journal, Position
from litefleet_agent.logs import EventLog
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Ack, DeviceLog

log = EventLog(__name__)
SENT = "sent.json"


class Pace(Struct, frozen=True):
    """How much a board says, at most."""

    every_s: float = 2.0
    """Between two messages: what happens together travels together, and a backlog leaves room for other things."""
    message_bytes: int = 16 * 1024
    resend_s: float = 30.0
    """Doubled with each repetition: a controller that knows no such messages never answers."""
    longest_s: float = 600.0


class _UnderWay(Struct):
    data: bytes
    last: tuple[str, int]
    end: Position
    patience_s: float
    sent_at: float | None = None


class LogSender:
    """Publishes what the journal holds beyond what was acknowledged."""

    def __init__(
        self,
        journal: Journal,
        link: Link,
        disk: Disk,
        directory: Path,
        device: str,
        pace: Pace = Pace(),
    ) -> None:
        self._journal = journal
        self._link = link
        self._disk = disk
        self._path = directory / SENT
        self._topic = topics.up(device, topics.Up.LOG)
        self._pace = pace
        self._position: Position | None = None
        self._under_way: _UnderWay | None = None
        self._next = float("-inf")

    def send(self, now: float) -> None:
        """Send what is due; what the disk doesn't give now is tried again later."""
        if not self._link.connected or now < self._next:
            return
        try:
            message = self._under_way or self._read()
        except OSError as e:
            self._next = now + self._pace.resend_s
            log.warning("journal_not_read", error=e)
            return
        if message is None or (message.sent_at is not None and now - message.sent_at < message.patience_s):
            return
        if message.sent_at is not None:
            message.patience_s = min(message.patience_s * 2, self._pace.longest_s)
        if self._link.publish(self._topic, message.data):
            message.sent_at = now
        self._under_way = message
        self._next = now + self._pace.every_s

    def reconnected(self) -> None:
        """What was under way may be lost."""
        if self._under_way is not None:
            self._under_way.sent_at = None

    def acknowledged(self, ack: Ack) -> None:
        """Go on behind what is durable at the controller."""
        message = self._under_way
        if message is None or message.last != (ack.boot_id, ack.sequence):
            return
        self._under_way = None
        self._remember(message.end)

    def _read(self) -> _UnderWay | None:
        if self._position is None:
            self._position = self._remembered()
        if self._position == self._journal.end():
            return None
        portion = self._journal.read(self._position, self._pace.message_bytes)
        if not portion.entries:
            self._position = portion.end
            return None
        data = codec.encode(DeviceLog(entries=portion.entries))
        last = portion.entries[-1]
        return _UnderWay(data, (last.boot_id, last.sequence), portion.end, self._pace.resend_s)

    def _remembered(self) -> Position:
        try:
            return msgspec.json.decode(self._disk.read(self._path) or b"{}", type=Position)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Position()

    def _remember(self, position: Position) -> None:
        self._position = position
        try:
            self._disk.replace(self._path, msgspec.json.encode(position), durable=False)
        except OSError as e:
            log.debug("sent_position_not_kept", error=e)
