"""What the plots share: a frame with room for its labels, scales, ticks that people would choose."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from litefleet_controller.cli.report.markup import Child, el

_TICKS = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a plot's area lies within its picture, in the picture's units."""

    width: float
    height: float
    left: float = 56
    right: float = 16
    top: float = 14
    bottom: float = 42

    @property
    def floor(self) -> float:
        """The lower edge of the area."""
        return self.height - self.bottom

    def x(self, share: float) -> float:
        """From 0 to 1 across the area."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """From 0 to 1 up the area."""
        return self.floor - share * (self.floor - self.top)


def picture(name: str, frame: Frame, *children: Child) -> Element:
    """A drawing that a screen reader passes over after its name: the figures stand in text beside it."""
    return el(
        "svg",
        el("title", name),
        *children,
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        role="img",
        aria_label=name,
        class_="plot",
    )


def axes(
    frame: Frame, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]], x_title: str, y_title: str
) -> list[Element]:
    """Grid lines and labels; ticks are (share of the area, text)."""
    middle = (frame.top + frame.floor) / 2
    return [
        *(el("line", x1=frame.left, x2=frame.x(1), y1=frame.y(s), y2=frame.y(s), class_="grid") for s, _ in y),
        *(el("text", t, x=frame.left - 6, y=frame.y(s) + 4, text_anchor="end") for s, t in y),
        *(el("text", t, x=frame.x(s), y=frame.floor + 16, text_anchor="middle") for s, t in x),
        el("line", x1=frame.left, x2=frame.x(1), y1=frame.floor, y2=frame.floor, class_="axis"),
        el("text", x_title, x=frame.x(0.5), y=frame.height - 6, text_anchor="middle", class_="title"),
        el(
            "text", y_title, x=12, y=middle, text_anchor="middle", class_="title",
            transform=f"rotate(-90 12 {middle:g})",
        ),
    ]  # fmt: skip


def ticks(low: float, high: float, text: Callable[[float], str]) -> list[tuple[float, str]]:
    """About five round values from `low` to `high`, as shares of that way."""
    span = high - low
    if span <= 0:
        return [(0.5, text(low))]
    step = 10 ** math.floor(math.log10(span / _TICKS))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= _TICKS + 1)
    first = math.ceil(low / step - 1e-9)
    return [((n * step - low) / span, text(n * step)) for n in range(first, math.floor(high / step + 1e-9) + 1)]
