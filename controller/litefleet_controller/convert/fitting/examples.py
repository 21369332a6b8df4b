"""What is trained on, and which of it is held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.samples.preprocess import Floats

Numbers = NDArray[np.int64]


class Examples(Protocol):
    """Inputs and their classes."""

    labels: tuple[str, ...]
    """Names of the classes, in the order of the model's outputs."""
    y: Numbers
    """(N,) class numbers."""

    def batch(self, chosen: Sequence[int] | Numbers) -> Floats:
        """These inputs as the model takes them, (n, ...) float32."""
        ...

    def raw(self, chosen: Sequence[int] | Numbers) -> NDArray[Any]:
        """These inputs before pre-processing, as a data set holds them."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of examples."""

    training: Numbers
    held_out: Numbers


def split(y: Numbers, share: float, seed: int) -> Split:
    """Hold out `share` of each class, at least one example of each that has two, in an order by `seed`.

    Raises:
        ConversionError: final; `TrainingInvalid`, when no class has two examples.
    """
    rng = np.random.default_rng(seed)
    training, held_out = [], []
    for number in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == number))
        aside = min(max(1, round(share * len(members))), len(members) - 1)
        held_out.append(members[:aside])
        training.append(members[aside:])
    parts = Split(rng.permutation(np.concatenate(training)), rng.permutation(np.concatenate(held_out)))
    if not len(parts.held_out):
        raise ConversionError(
            "TrainingInvalid", "no class has two examples: there is nothing to measure accuracy on", final=True
        )
    return parts
