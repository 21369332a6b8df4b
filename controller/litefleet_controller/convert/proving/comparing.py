"""When a variant answers as its source does: two measures, and the numbers that each one leaves.

*Accuracy* is for classifiers: a sample agrees when the same class comes first. *Closeness* is for everything else,
where nobody here knows what the numbers mean. Each output is held against the source's, in units that make a box
coordinate of 200 pixels and a score of 0.02 comparable: an output's spread is the standard deviation of all its numbers
over the evaluation set, a sample's error is the root mean square difference over the spread, and the sample agrees when
no output's error is larger than the tolerance. An error of 0.1 is noise with 1 % of the power that the output tells
things apart with, 20 dB. Runs in workers; imports numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.interface import Measure, OutputCloseness
from litefleet_controller.convert.samples.datasets import Evaluation
from litefleet_controller.convert.samples.preprocess import Floats

_NO_SPREAD = 1e-6
"""Of the largest number: below it an output is a constant with float32's noise on it, and measured by that number."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a comparison came to."""

    agreement: float
    """Share of samples answered as the source does."""
    accuracy: float | None = None
    closeness: tuple[OutputCloseness, ...] = ()

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is nearer to the source, also where no sample agrees yet."""
        return self.agreement, -max((o.mean_error for o in self.closeness), default=0.0)


class Yardstick(Protocol):
    """A measure with the source's answers."""

    source_accuracy: float | None

    def score(self, outputs: Sequence[Floats]) -> Score:
        """`outputs`: float32 (N, ...) each, finite, of the shapes of the source's."""
        ...


def yardstick(measure: Measure, source: Sequence[Floats], names: Sequence[str], evaluation: Evaluation) -> Yardstick:
    """`source`: what it answers to the evaluation's inputs, float32 (N, ...) an output."""
    if measure.metric == "closeness":
        return Closeness(source, names, measure.tolerance)
    if evaluation.y is None:
        raise AssertionError("accuracy is measured on an evaluation set that was loaded with its classes")
    return TopAnswer(source[0], evaluation.y)


class TopAnswer:
    """Implements `Yardstick` for classifiers."""

    def __init__(self, source: Floats, y: NDArray[np.int64]) -> None:
        """`source`: (N, classes) float32; `y`: (N,) the right classes."""
        self._expected = source.argmax(axis=1)
        self._y = y
        self.source_accuracy: float | None = float((self._expected == y).mean())

    def score(self, outputs: Sequence[Floats]) -> Score:
        """Compare arg max."""
        answers = outputs[0].argmax(axis=1)
        return Score(agreement=float((answers == self._expected).mean()), accuracy=float((answers == self._y).mean()))


class Closeness:
    """Implements `Yardstick` for tensors of any meaning."""

    def __init__(self, source: Sequence[Floats], names: Sequence[str], tolerance: float) -> None:
        self._source = source
        self._names = names
        self._tolerance = tolerance
        self._spreads = [spread(y) for y in source]
        self.source_accuracy: float | None = None

    def score(self, outputs: Sequence[Floats]) -> Score:
        """Compare number by number."""
        closeness = []
        noises = self._noises(outputs)
        for name, wanted, spread_, noise in zip(self._names, self._source, self._spreads, noises, strict=True):
            each = np.sqrt(noise) / spread_
            closeness.append(
                OutputCloseness(
                    output=name,
                    spread=spread_,
                    mean_error=float(each.mean()),
                    worst_error=float(each.max()),
                    sqnr_db=_sqnr_db(wanted, float(noise.mean())),
                )
            )
        return Score(agreement=float(self.agrees(outputs).mean()), closeness=tuple(closeness))

    def agrees(self, outputs: Sequence[Floats]) -> NDArray[np.bool_]:
        """Which samples agree, (N,)."""
        errors = [np.sqrt(noise) / s for noise, s in zip(self._noises(outputs), self._spreads, strict=True)]
        return np.asarray(np.max(errors, axis=0) <= self._tolerance)

    def _noises(self, outputs: Sequence[Floats]) -> list[NDArray[np.float64]]:
        """Mean square difference of each sample, (N,) an output."""
        return [
            np.square(got - wanted).reshape(len(wanted), -1).mean(axis=1, dtype=np.float64)
            for wanted, got in zip(self._source, outputs, strict=True)
        ]


def spread(output: Floats) -> float:
    """Standard deviation of all numbers of an output (N, ...), or its magnitude where it is a constant; above 0."""
    deviation, largest = float(output.std(dtype=np.float64)), float(np.abs(output).max(initial=0.0))
    return deviation if deviation > _NO_SPREAD * largest else largest or 1.0


def _sqnr_db(wanted: Floats, noise: float) -> float | None:
    signal = float(np.square(wanted).mean(dtype=np.float64))
    return 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else None
