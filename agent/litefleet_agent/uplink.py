"""What a board tells the controller: its report, telemetry through the outbox, its log. Used by the main loop alone."""

from collections.abc import Callable

from msgspec import Struct

from litefleet_agent import health
from litefleet_agent.board import State, reported
from litefleet_agent.interface import Link
from litefleet_agent.logs import EventLog
from litefleet_agent.logsender import LogSender
from litefleet_agent.outbox import Outbox
from litefleet_agent.swap import HotSlot
from litefleet_agent.telemetry import Meter, Window
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Ack, Capabilities, Stream, TelemetryWindow

log = EventLog(__name__)


class Board(Struct, frozen=True):
    """What the uplink needs to know of the machine."""

    device: str
    capabilities: Callable[[], Capabilities]
    keep_report: Callable[[bytes], None]
    """Keeps the last report on the disk, for `litefleet-agent status`."""
    wall: Callable[[], float]


class Uplink:
    """Publishes; never waits."""

    def __init__(self, board: Board, link: Link, outbox: Outbox, logs: LogSender, *, window_s: float) -> None:
        self._board = board
        self._link = link
        self._outbox = outbox
        self._logs = logs
        self._window_s = window_s
        self._reports = 0

    def report(self, state: State) -> None:
        """Publish the whole state, retained. When the link is down the next connection's report replaces it."""
        self._reports += 1
        message = codec.encode(reported(state, self._outbox.boot_id, self._reports, self._board.capabilities()))
        self._link.publish(topics.up(self._board.device, topics.Up.REPORTED), message, retain=True)
        try:
            self._board.keep_report(message)
        except OSError as e:
            log.warning("report_not_kept", error=e)

    def gather(self, meter: Meter, hot: HotSlot, *, everything: bool = False) -> None:
        """Move a slot's finished windows into the outbox."""
        live = hot.live
        for window in meter.collect(live.number if live else None, self._window_s, everything=everything):
            sequence = self._outbox.next_sequence()
            self._outbox.append(sequence, codec.encode(self._message(window, sequence)))

    def _message(self, window: Window, sequence: int) -> TelemetryWindow:
        return TelemetryWindow(
            boot_id=self._outbox.boot_id,
            sequence=sequence,
            slot=window.slot,
            artifact=window.artifact,
            version=window.version,
            started=window.started,
            seconds=window.seconds,
            count=window.count,
            errors=window.errors,
            dropped=window.dropped,
            latency_ms=window.latency_ms,
            confidence=window.confidence,
            classes=window.classes,
            rss_bytes=health.rss_bytes(),
            temperature_c=health.temperature_c(),
            longest_gap_ms=window.longest_gap_ms,
            clock_trusted=health.clock_trusted(self._board.wall()),
        )

    def send_telemetry(self, now: float) -> None:
        """Send what the outbox and the log have due."""
        self._logs.send(now)
        if not self._link.connected:
            return
        for record in self._outbox.due(now):
            if not self._link.publish(topics.up(self._board.device, topics.Up.TELEMETRY), record.data):
                return
            self._outbox.sent(record, now)

    def reconnected(self) -> None:
        """What was on its way may be lost."""
        self._outbox.reconnected()
        self._logs.reconnected()

    def acknowledged(self, ack: Ack) -> None:
        """Drop what is durable at the controller."""
        match ack.stream:
            case Stream.TELEMETRY:
                self._outbox.acknowledge(ack.boot_id, ack.sequence)
            case Stream.LOG:
                self._logs.acknowledged(ack)
