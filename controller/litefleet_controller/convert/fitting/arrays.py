"""Examples in an `.npz` with `x` (N, ...) and `y` (N,) class numbers."""

import sys
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from litefleet_controller.convert.fitting.examples import Numbers
from litefleet_controller.convert.samples.datasets import Training, load_training
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_protocol.tensors import Preprocess


class ArrayExamples:
    """Implements `Examples`. Classes have their numbers for names."""

    def __init__(self, path: str, spec: Preprocess, input_shape: Sequence[int], classes: int) -> None:
        """Read all of it.

        Raises:
            RungError: see `load_training`.
        """
        self._data: Training = load_training(path, sys.maxsize, spec, input_shape, classes)
        self.y: Numbers = self._data.y
        self.labels = tuple(map(str, range(classes)))

    def batch(self, chosen: Sequence[int] | Numbers) -> Floats:
        """See `Examples`."""
        return self._data.batch(chosen)

    def raw(self, chosen: Sequence[int] | Numbers) -> NDArray[Any]:
        """See `Examples`."""
        return self._data.raw(chosen)
