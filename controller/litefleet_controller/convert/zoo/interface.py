"""What an architecture says of itself, and the plan by which one is built. Imports no keras: the command line reads it.

All of them take pixels of 0 to 255, as a camera gives them, and scale them in their own graph: a wrongly scaled input
is the commonest mistake on the way to a board. All end in softmax.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from litefleet_controller.convert.interface import ConversionError

SMALLEST_SIDE, LARGEST_SIDE = 8, 4096
MOST_CLASSES = 100_000
_SMALLEST_MAP = 3
"""Pixels a side of the last feature map. All these networks were drawn for 224x224, where it has 7 or 14."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One network to build."""

    shape: tuple[int, int, int]
    """Height and width in pixels, channels."""
    classes: int
    width: float
    """Multiplies the channels, as the architecture's paper has it."""
    strides: tuple[int, ...]
    """Of the architecture's halvings, from the input on: 2, or 1 where one is left out because the input is small."""

    @property
    def left_out(self) -> int:
        """Halvings that are left out."""
        return self.strides.count(1)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family's member, as its paper has it."""

    name: str
    paper: str
    """Authors, year, number on arXiv."""
    good_for: str
    """When to take it, one sentence."""
    parameters: int
    """That training changes, at 1,000 classes, three channels and width 1."""
    halvings: int
    """Layers that halve height and width."""
    build: Callable[[Plan], Any]
    """The keras.Model of a plan; imports keras."""
    widths: tuple[float, ...] = (1.0,)
    """That it was published with."""

    def plan(self, shape: Sequence[int], classes: int, width: float = 1.0) -> Plan:
        """What to build for inputs of `shape` (height, width, channels).

        Raises:
            ConversionError: final; `InvalidArgument`.
        """
        if len(shape) != 3 or not all(SMALLEST_SIDE <= n <= LARGEST_SIDE for n in shape[:2]) or shape[2] not in (1, 3):
            _refuse(
                f"an input of {'x'.join(map(str, shape))} can't be built: height and width must be "
                f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels, channels 1 (grey) or 3 (RGB)"
            )
        if not 2 <= classes <= MOST_CLASSES:
            _refuse(f"{classes} classes can't be told apart by a classifier: 2 to {MOST_CLASSES}")
        if width not in self.widths:
            published = ", ".join(f"{w:g}" for w in self.widths)
            _refuse(f"{self.name} has no width {width:g}; it was published with {published}")
        height, across, channels = shape
        return Plan((height, across, channels), classes, width, strides(min(height, across), self.halvings))


def strides(side: int, halvings: int) -> tuple[int, ...]:
    """Which of `halvings` are kept for inputs with `side` pixels on the shorter side: the first ones go first.

    As small inputs are commonly treated (32x32 images with a stem that doesn't halve): what the later layers see is
    what they would see of a larger image. At least the last one stays.
    """
    kept = halvings
    while kept > 1 and side / 2**kept < _SMALLEST_MAP:
        kept -= 1
    return (1,) * (halvings - kept) + (2,) * kept


def _refuse(message: str) -> None:
    raise ConversionError("InvalidArgument", message, final=True)
