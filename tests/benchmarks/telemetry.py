"""What a board's telemetry weighs on the wire, and what its histograms are worth: against the raw latencies.

The agent's meter gathers, the protocol's codec carries, the protocol's histograms answer. Latencies come from seeded
distributions, and one set from a real model that is timed.
"""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import msgpack
from numpy.typing import NDArray

from litefleet_agent.config import TelemetryConfig
from litefleet_agent.runtime.litert import LiteRT
from litefleet_agent.swap import Observation
from litefleet_agent.telemetry import Meter
from litefleet_protocol import codec
from litefleet_protocol.histogram import RELATIVE_ERROR, Histogram, HistogramBuilder, merge
from litefleet_protocol.messages import TelemetryWindow
from tests.agent.data.make_models import convolutions
from tests.figures import Figure, Run

RATE_HZ = 30
WINDOW_S = 60
OTHER_WINDOWS_S = (10, 600)
DEFAULT_S = TelemetryConfig().window_seconds
QUANTILES = (0.5, 0.95, 0.99)
_LABELS = tuple("0123456789")

Latencies = NDArray[np.float64]
"""Milliseconds."""


def telemetry(run: Run) -> Sequence[Figure]:
    """Bytes of a window, the error of its quantiles, and whether parts add up to the whole."""
    rounds = 2 if run.sample else 40
    return [_weight(run.seed), *_quantiles(run.seed, rounds), _merged(run.seed, rounds)]


def distributions(rng: np.random.Generator, count: int) -> dict[str, Latencies]:
    """What latencies look like: a quiet board, one with two kinds of input, one that stalls, a simulated constant."""
    slow = rng.random(count) < 0.2
    return {
        "lognormal": 12 * rng.lognormal(0, 0.5, count),
        "bimodal": np.where(slow, 85.0, 12.0) * rng.lognormal(0, 0.1, count),
        "constant": np.full(count, 12.0 * rng.lognormal(0, 0.5)),
        "heavy-tail": 10 * (1 + rng.pareto(1.5, count)),
    }


# --- weight ---


def _weight(seed: int) -> Figure:
    """Both histograms of a window (latency and confidence) against the list of its latencies as JSON; the worst."""
    weights = {s: _heaviest(seed, s) for s in (WINDOW_S, *OTHER_WINDOWS_S)}
    name, histograms, raw, rounded, message = weights[WINDOW_S]
    note = (
        f"{WINDOW_S} s at {RATE_HZ} Hz, latency and confidence together, worst of all distributions ({name}); against "
        f"latencies rounded to microseconds {histograms / rounded:.4f}; the agent's default window is {DEFAULT_S:g} s"
    )
    sides = {"histograms bytes": histograms, "raw JSON bytes": raw, "whole message bytes": message}
    sides |= {f"ratio of {s} s": weights[s][1] / weights[s][2] for s in OTHER_WINDOWS_S}
    return Figure("telemetry-bytes", histograms / raw, "of raw latencies", 0.03, "<=", sides, seed, note)


def _heaviest(seed: int, seconds: int) -> tuple[str, int, int, int, int]:
    """Of all distributions the one with the worst ratio: its name, bytes of histograms, JSON, rounded JSON, message."""
    rng = np.random.default_rng(seed)
    count = RATE_HZ * seconds
    measured = {"measured": _inferences(min(count, 1800))} if count <= 1800 else {}
    found = []
    for name, latencies in {**distributions(rng, count), **measured}.items():
        sent = codec.encode(_window(latencies, rng.beta(8, 1, count), seconds))
        window = codec.decode(TelemetryWindow, sent)
        histograms = len(msgpack.encode(window.latency_ms)) + len(msgpack.encode(window.confidence))
        raw = latencies.tolist()
        found.append((name, histograms, _json_bytes(raw), _json_bytes([round(x, 3) for x in raw]), len(sent)))
    return max(found, key=lambda f: f[1] / f[2])


def _window(latencies: Latencies, confidences: NDArray[np.float64], seconds: int) -> TelemetryWindow:
    """What the agent sends of these inferences."""
    now = [0.0]
    meter = Meter("digits", clock=lambda: now[0], wall=lambda: 1.7e9 + now[0])
    artifact = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    for number, (latency, confidence) in enumerate(zip(latencies.tolist(), confidences.tolist(), strict=True)):
        label = _LABELS[number % len(_LABELS)]
        meter.answered(Observation(1, artifact, "digits-v1", latency, label, confidence, 1000 / RATE_HZ))
    now[0] = float(seconds)
    (window,) = meter.collect(1, float(seconds))
    return TelemetryWindow(boot_id="0" * 32, sequence=1, rss_bytes=60_000_000, **msgspec.structs.asdict(window) | {
        "latency_ms": window.latency_ms, "confidence": window.confidence,
    })  # fmt: skip


def _inferences(count: int) -> Latencies:
    """Milliseconds of so many inferences of a small convolutional model, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        convolutions(path)
        model = LiteRT().load(path, threads=1, digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
        image = np.zeros((1, 28, 28, 1), np.float32)
        times = [time.perf_counter()]
        for _ in range(count):
            model.infer([image])
            times.append(time.perf_counter())
    return np.diff(times) * 1000


def _json_bytes(values: list[float]) -> int:
    return len(json.dumps(values, separators=(",", ":")))


# --- truth ---


def _quantiles(seed: int, rounds: int) -> list[Figure]:
    """The worst relative error of p50, p95 and p99 against the sorted values, at the same rank."""
    worst: dict[str, float] = {}
    for number in range(rounds):
        for name, values in distributions(np.random.default_rng((seed, number)), RATE_HZ * WINDOW_S).items():
            histogram, ordered = _histogram(values), np.sort(values)
            for q in QUANTILES:
                true = float(ordered[math.floor(q * (len(ordered) - 1))])
                worst[name] = max(worst.get(name, 0.0), abs(histogram.quantile(q) - true) / true)
    note = f"p50, p95, p99 of {rounds} windows of each distribution, at the same rank of the sorted values"
    return [
        Figure("telemetry-quantiles", max(worst.values()), "relative error", RELATIVE_ERROR, "<=", worst, seed, note)
    ]


def _merged(seed: int, rounds: int) -> Figure:
    """The share of random cuts into parts whose merge, in random order, is the histogram of the whole."""
    exact, tried, farthest = 0, 0, 0.0
    for number in range(rounds):
        rng = np.random.default_rng((seed, number))
        for values in distributions(rng, RATE_HZ * WINDOW_S).values():
            cuts = np.sort(rng.integers(0, len(values), int(rng.integers(1, 200))))
            parts = [_histogram(p) for p in np.split(values, cuts)]
            rng.shuffle(parts)  # type: ignore[arg-type]
            whole, merged = _histogram(values), merge(parts)
            exact += (merged.buckets, merged.zeros) == (whole.buckets, whole.zeros)
            tried += 1
            farthest = max(farthest, abs(merged.total - whole.total) / whole.total)
    note = f"every count of every bucket; {tried} cuts into up to 200 parts; sums of the values apart by {farthest:.0e}"
    return Figure("telemetry-merge", exact / tried, "exact", 1.0, "==", {"exact": exact, "tried": tried}, seed, note)


def _histogram(values: Latencies) -> Histogram:
    builder = HistogramBuilder()
    for value in values.tolist():
        builder.add(value)
    return builder.freeze()
