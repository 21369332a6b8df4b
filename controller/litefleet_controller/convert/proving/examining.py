"""How a variant answers beside its source's answers: what people look at when they ask why a figure is what it is.

Runs in workers, on outputs that the proof has computed already; only the layers are run once more, on a few samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.artifacts.examination import (
    BINS,
    MAX_CLASSES,
    MAX_NAME,
    MAX_OUTPUTS,
    MAX_PAIRS,
    Examination,
    LayerError,
    Pair,
    Values,
)
from litefleet_controller.convert.interface import Metric
from litefleet_controller.convert.samples.preprocess import Floats

_SUMS_TO_ONE = 0.02
"""How far quantized probabilities may be from it: a step of 1/256 for each of some classes."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What layererrors.py measured, if anything."""

    errors: tuple[LayerError, ...] = ()
    left_out: int = 0
    samples: int = 0


def examined(
    metric: Metric,
    names: Sequence[str],
    source: Sequence[Floats],
    variant: Sequence[Floats],
    agreement: float,
    layers: Layers,
) -> Examination:
    """Compare answers, float32 (N, ...) an output.

    `names`: of the outputs; `agreement`: the share of samples that count as answered as the source does.
    """
    if metric == "accuracy":
        return _classified(source[0], variant[0], layers)
    return Examination(
        samples=len(source[0]),
        disagreements=round((1 - agreement) * len(source[0])),
        values=tuple(map(_values, names[:MAX_OUTPUTS], source, variant)),
        **_of(layers),
    )


def _classified(source: Floats, variant: Floats, layers: Layers) -> Examination:
    """(N, classes) each; probabilities, or logits in both."""
    expected, got = source.argmax(axis=1), variant.argmax(axis=1)
    classes = source.shape[1]
    apart = expected != got
    agreed = np.bincount(expected[~apart], minlength=classes) if classes <= MAX_CLASSES else np.zeros(0, np.int64)
    is_softmaxed = not _are_probabilities(source)
    return Examination(
        samples=len(source),
        classes=classes,
        disagreements=int(apart.sum()),
        agreed=tuple(map(int, agreed)),
        pairs=_pairs(expected[apart], got[apart], classes),
        confidence=_histogram(_softmax(variant) if is_softmaxed else variant),
        source_confidence=_histogram(_softmax(source) if is_softmaxed else source),
        is_softmaxed=is_softmaxed,
        **_of(layers),
    )


def _of(layers: Layers) -> dict[str, Any]:
    has_any = bool(layers.errors)
    return {"layers": layers.errors, "layer_samples": layers.samples * has_any, "left_out": layers.left_out}


def _values(name: str, source: Floats, variant: Floats) -> Values:
    low, high = float(source.min()), float(source.max())
    edges = (low, high) if high > low else (low - 0.5, low + 0.5)
    of_source, of_variant = (np.histogram(np.clip(y, *edges), bins=BINS, range=edges)[0] for y in (source, variant))
    return Values(name[:MAX_NAME], low, high, tuple(map(int, of_variant)), tuple(map(int, of_source)))


def _pairs(expected: NDArray[np.int64], got: NDArray[np.int64], classes: int) -> tuple[Pair, ...]:
    """The most frequent first; of those that are as frequent, the lower class numbers."""
    numbers, counts = np.unique(expected * classes + got, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_PAIRS]
    return tuple(Pair(int(numbers[i]) // classes, int(numbers[i]) % classes, int(counts[i])) for i in order)


def _are_probabilities(answers: Floats) -> bool:
    return bool(answers.min() >= 0 and np.abs(answers.sum(axis=1) - 1).max() <= _SUMS_TO_ONE)


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def _histogram(probabilities: Floats) -> tuple[int, ...]:
    """Of the highest probability of each sample; what rounding brought outside of 0 to 1 counts at the edge."""
    counts, _ = np.histogram(np.clip(probabilities.max(axis=1), 0, 1), bins=BINS, range=(0, 1))
    return tuple(map(int, counts))
