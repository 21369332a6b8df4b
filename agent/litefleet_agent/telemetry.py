"""Telemetry of one slot: windows of counts and histograms, one for each loaded model, so that none spans a flip.

The hot slot's threads add; the main loop collects what is over. Sequence numbers and the way out are `outbox`'s.
"""

import threading
from collections.abc import Callable

from msgspec import Struct, field

from litefleet_agent.swap import Generation, Observation
from litefleet_protocol.codes import Code
from litefleet_protocol.histogram import Histogram, HistogramBuilder
from litefleet_protocol.limits import MAX_CLASSES


class Window(Struct, frozen=True):
    """One finished window, still without sequence and health."""

    slot: str
    artifact: str
    version: str
    started: float
    seconds: float
    count: int
    errors: int
    dropped: int
    latency_ms: Histogram
    confidence: Histogram
    classes: dict[str, int]
    longest_gap_ms: float


class _Open(Struct):
    artifact: str
    version: str
    began: float
    began_wall: float
    count: int = 0
    errors: int = 0
    dropped: int = 0
    latency_ms: HistogramBuilder = field(default_factory=HistogramBuilder)
    confidence: HistogramBuilder = field(default_factory=HistogramBuilder)
    classes: dict[str, int] = {}
    longest_gap_ms: float = 0.0


class Meter:
    """Gathers one slot's windows. Implements `Observer`."""

    def __init__(self, slot: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._slot = slot
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self.answered_total = 0
        self.failed_total = 0

    def answered(self, observation: Observation) -> None:
        """Count an answer."""
        with self._lock:
            window = self._window(observation.generation, observation.artifact, observation.version)
            window.count += 1
            self.answered_total += 1
            window.latency_ms.add(observation.latency_ms)
            window.longest_gap_ms = max(window.longest_gap_ms, observation.gap_ms)
            if observation.confidence is not None:
                window.confidence.add(observation.confidence)
            label = observation.label
            if label and (label in window.classes or len(window.classes) < MAX_CLASSES):
                window.classes[label] = window.classes.get(label, 0) + 1

    def failed(self, generation: Generation, code: str, message: str) -> None:  # noqa: ARG002 - windows only count
        """Count a failed inference."""
        with self._lock:
            self._window(generation.number, generation.artifact, generation.version).errors += 1
            self.failed_total += 1

    def input_failed(self, generation: Generation | None) -> None:
        """Count an input that could not be decoded: an error of the slot, but nothing that a model did."""
        if generation is not None:
            self.failed(generation, Code.BAD_MESSAGE, "")

    def missed(self, generation: Generation | None, inputs: int) -> None:
        """Count inputs that were due by the source's rate while something else was still being answered."""
        if generation is not None:
            with self._lock:
                self._window(generation.number, generation.artifact, generation.version).dropped += inputs

    def _window(self, generation: int, artifact: str, version: str) -> _Open:
        window = self._open.get(generation)
        if window is None:
            window = self._open[generation] = _Open(artifact, version, self._clock(), self._wall())
        return window

    def collect(self, live: int | None, length_s: float, *, everything: bool = False) -> list[Window]:
        """Close and hand out the windows that are `length_s` old or whose generation isn't `live` any more."""
        now = self._clock()
        with self._lock:
            over = {g: w for g, w in self._open.items() if everything or g != live or now - w.began >= length_s}
            for generation in over:
                del self._open[generation]
        return [self._closed(w, now) for w in over.values()]

    def _closed(self, window: _Open, now: float) -> Window:
        return Window(
            slot=self._slot,
            artifact=window.artifact,
            version=window.version,
            started=window.began_wall,
            seconds=now - window.began,
            count=window.count,
            errors=window.errors,
            dropped=window.dropped,
            latency_ms=window.latency_ms.freeze(),
            confidence=window.confidence.freeze(),
            classes=window.classes,
            longest_gap_ms=window.longest_gap_ms,
        )
