"""Whether a compiled file's quantization can hold the source's inputs and say the source's answers.

That needs no TPU: scales and zero points stand in the file. Runs in workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.targets.prebuilt import INSTEAD, NAMED, SAME_MODEL
from litefleet_protocol.tensors import TensorSpec

_MAX_CLIPPED = 0.1
"""Share of the input's numbers that may lie outside of what the file takes: calibration cuts off some outliers, and a
wrong scale nearly all."""
_MIN_LEVELS = 16
"""Of 256, that the inputs must reach over: scaled too small they all become the same few numbers."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a quantized tensor can say."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, spec: TensorSpec) -> "Range | None":
        """None for float32, which can say anything."""
        if (q := spec.quantization) is None:
            return None
        limits = np.iinfo(spec.dtype)
        return cls((limits.min - q.zero_point) * q.scale, (limits.max - q.zero_point) * q.scale, q.scale)

    def nearest(self, y: Floats) -> Floats:
        """What it says for `y`."""
        said: Floats = (
            self.low + np.round((np.clip(y, self.low, self.high) - self.low) / self.step) * self.step
        ).astype(np.float32)
        return said

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g} in steps of {self.step:.4g}"


def check_input(spec: TensorSpec, x: Floats) -> None:
    """Refuse a file whose input can't hold `x`, the pre-processed inputs (N, ...) of the evaluation set.

    Raises:
        ConversionError: final; `QuantizationMismatch`.
    """
    if (room := Range.of(spec)) is None:
        return
    low, high = float(x.min()), float(x.max())
    clipped = float(((x < room.low - room.step) | (x > room.high + room.step)).mean())
    levels = (min(high, room.high) - max(low, room.low)) / room.step
    given = f"the evaluation set's inputs, pre-processed, are {low:.4g} to {high:.4g}"
    reach = f"{NAMED} takes {spec.dtype} from {room}; {given}"
    hint = "spec.input.preprocess must bring inputs to what the file was quantized for" + INSTEAD
    if clipped > _MAX_CLIPPED:
        refuse("QuantizationMismatch", f"{reach}: {clipped:.1%} of their numbers would be cut off", hint)
    if levels < _MIN_LEVELS <= (room.high - room.low) / room.step and high > low:
        refuse("QuantizationMismatch", f"{reach}: they would become {max(levels, 0) + 1:.0f} different numbers", hint)


def check_outputs(specs: Sequence[TensorSpec], source: Sequence[Floats], allowed: Sequence[float]) -> None:
    """Refuse what no board could pass: `source` answers, (N, ...) an output, that the file has no numbers for.

    Raises:
        ConversionError: final; `QuantizationMismatch`.
    """
    for spec, y, tolerance in zip(specs, source, allowed, strict=True):
        room = Range.of(spec)
        off = float(np.abs(room.nearest(y) - y).max(initial=0.0)) if room is not None else 0.0
        if off > tolerance:
            refuse(
                "QuantizationMismatch",
                f"{NAMED} can say {room} in its output {spec.name!r}, and the source answers {y.min():.4g} to "
                f"{y.max():.4g}: the nearest is off by {off:.4g}, and {tolerance:.4g} is allowed",
                "does one of the two end in a softmax, and the other not? " + SAME_MODEL + INSTEAD,
            )
