"""Watching a new model for a while. Fed by the hot slot's threads, judged by the main loop."""

import threading
from collections.abc import Callable

from msgspec import Struct

from litefleet_agent.swap import Generation, Observation
from litefleet_protocol.codes import Code
from litefleet_protocol.histogram import Histogram, HistogramBuilder, merge
from litefleet_protocol.messages import Gates

ENOUGH = 20
"""Inferences below which a rate or a percentile says nothing before the time is over."""


_FATAL = frozenset({Code.BAD_OUTPUT, Code.MODEL_CRASHED, Code.TIMEOUT, Code.MEMORY_LIMIT})


class Seen(Struct, frozen=True):
    """What happened so far."""

    answers: int
    errors: int
    latency_ms: Histogram
    rss_bytes: int | None
    fatal: "Failing | None" = None
    """What no model may do even once."""


class Failing(Struct, frozen=True):
    """A gate that was broken."""

    code: str
    message: str


def judge(seen: Seen, gates: Gates, *, over: bool) -> Failing | None:
    """The first broken gate. What is fatal, and memory, at once; rates with `ENOUGH` inferences or once `over`."""
    if seen.fatal is not None:
        return seen.fatal
    if gates.max_memory_bytes is not None and seen.rss_bytes is not None and seen.rss_bytes > gates.max_memory_bytes:
        return Failing(Code.MEMORY_LIMIT, f"{seen.rss_bytes} bytes of memory; the gate is {gates.max_memory_bytes}")
    tried = seen.answers + seen.errors
    if tried == 0 or not (over or tried >= ENOUGH):
        return None
    if gates.max_error_rate is not None and seen.errors / tried > gates.max_error_rate:
        return Failing(
            Code.ERROR_RATE, f"{seen.errors} of {tried} inferences failed; the gate is {gates.max_error_rate:.2%}"
        )
    if gates.max_latency_ms is not None and seen.answers:
        p95 = seen.latency_ms.quantile(0.95)
        if p95 > gates.max_latency_ms:
            return Failing(
                Code.TOO_SLOW,
                f"p95 of {seen.answers} inferences is {p95:.1f} ms; the gate is {gates.max_latency_ms:g} ms",
            )
    return None


class Probation:
    """One probation. Implements `Observer` for the generation on trial and ignores all others."""

    def __init__(self, ticket: int, generation: Generation, gates: Gates, ends_at: float) -> None:
        self.ticket = ticket
        self.generation = generation
        self.ends_at = ends_at
        self.passed = False
        """Its time is over; it is watched on until the model serves for good."""
        self._gates = gates
        self._lock = threading.Lock()
        self._answers = 0
        self._errors = 0
        self._fatal: Failing | None = None
        self._latency = HistogramBuilder()
        self._latency_so_far = Histogram()

    def answered(self, observation: Observation) -> None:
        """Count an answer."""
        if observation.generation == self.generation.number:
            with self._lock:
                self._answers += 1
                self._latency.add(observation.latency_ms)

    def failed(self, generation: Generation, code: str, message: str) -> None:
        """Count a failure, unless it is the input's own: what no model could answer says nothing about this one."""
        if generation is self.generation and code != Code.BAD_MESSAGE:
            with self._lock:
                self._errors += 1
                if self._fatal is None and code in _FATAL:
                    self._fatal = Failing(code, message)

    def verdict(self, now: float, rss_bytes: Callable[[], int | None]) -> Failing | None:
        """The broken gate, if any, so far. `rss_bytes` is that of the process that the model runs in."""
        with self._lock:
            self._latency_so_far = merge([self._latency_so_far, self._latency.freeze()])
            seen = Seen(
                self._answers,
                self._errors,
                self._latency_so_far,
                rss_bytes() if self._gates.max_memory_bytes is not None else None,
                self._fatal,
            )
        return judge(seen, self._gates, over=now >= self.ends_at)
