"""From what the agent says to its journal, without letting one thing that goes wrong all the time push out the rest.

The lines are written on a thread of their own, so that nobody who says something, an inference perhaps, waits for a
disk that is slow. Attached by the command line and by `embed` for as long as the agent runs. The loggers are the
process's: of two agents in one program, each one's journal has what both say.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from litefleet_agent import health
from litefleet_agent.journal import Journal, Moment
from litefleet_agent.logs import JOURNAL
from litefleet_agent.workers import Worker
from litefleet_protocol.messages import LogValue

log = logging.getLogger(__name__)
END_S = 1.0
"""For what was said last; a disk that takes longer must not keep the agent from ending."""


class _Bucket(Struct):
    tokens: float
    filled_at: float
    suppressed: int = 0


class Throttle:
    """Lets through `burst` of an event at once, then one every `every_s` seconds, and counts what it holds back."""

    def __init__(self, burst: int = 20, every_s: float = 30.0) -> None:
        self._burst = burst
        self._every_s = every_s
        self._buckets: dict[str, _Bucket] = {}
        """Bounded: events are constants of the program."""

    def admit(self, event: str, now: float) -> int | None:
        """How many were held back before this one; None when this one is, too. `now`: monotonic seconds."""
        bucket = self._buckets.setdefault(event, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) / self._every_s)
        bucket.filled_at = now
        if bucket.tokens < 1:
            bucket.suppressed += 1
            return None
        bucket.tokens -= 1
        before, bucket.suppressed = bucket.suppressed, 0
        return before


def now() -> Moment:
    """By the machine's clocks."""
    wall = time.time()
    return Moment(wall, time.monotonic(), health.clock_trusted(wall))


class JournalHandler(logging.Handler):
    """Takes what the agent's modules say, on any thread, in the order in which it was said."""

    def __init__(self, journal: Journal, writer: Worker, clock: Callable[[], Moment], throttle: Throttle) -> None:
        super().__init__()
        self._journal = journal
        self._writer = writer
        self._clock = clock
        self._throttle = throttle
        self._failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one event."""
        event = str(record.msg)
        moment = self._clock()
        suppressed = self._throttle.admit(event, moment.monotonic)
        if suppressed is None:
            return
        fields = dict(getattr(record, "fields", {}))
        if suppressed:
            fields["suppressedBefore"] = suppressed
        level = record.levelname.lower()
        self._writer.submit(lambda: self._write(level, event, fields, moment))

    def _write(self, level: str, event: str, fields: dict[str, LogValue], moment: Moment) -> None:
        taken = self._journal.append(level, event, fields, moment)
        if not taken and not self._failing:
            log.warning("journal_not_written lost=%d", self._journal.lost)
        self._failing = not taken


@contextmanager
def journaling(journal: Journal, clock: Callable[[], Moment] = now) -> Iterator[None]:
    """Keep what is said inside the block."""
    writer = Worker("journal")
    writer.start()
    handler = JournalHandler(journal, writer, clock, Throttle())
    logger = logging.getLogger(JOURNAL)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        written = threading.Event()
        writer.submit(written.set)
        writer.stop()
        written.wait(END_S)
