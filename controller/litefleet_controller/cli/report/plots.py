"""How a variant answers, in pictures: layers, distributions, confusion. Their numbers stand in text as well. Pure."""

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from litefleet_controller.cli.report.axes import Frame, axes, picture, ticks
from litefleet_controller.cli.report.markup import el

Json = dict[str, Any]
MAX_MATRIX = 20
"""Classes that a matrix is drawn for."""


def layer_bars(recipe: str, layers: Sequence[Json]) -> Element:
    """The error of each layer's output, in the order they run."""
    frame = Frame(720, 220)
    tallest = max((layer["error"] for layer in layers), default=0.0) * 1.08 or 1.0
    width = 1 / len(layers)
    gap = 0.18 if len(layers) < 120 else 0.0
    bars = [
        el(
            "rect",
            el("title", f"{layer['operator']} {layer['name']}: {100 * layer['error']:.2f}%"),
            x=frame.x((i + gap / 2) * width),
            width=(1 - gap) * width * (frame.x(1) - frame.left),
            y=frame.y(layer["error"] / tallest),
            height=frame.floor - frame.y(layer["error"] / tallest),
            class_="bar" if layer["dtype"] != "float32" else "bar kept",
        )
        for i, layer in enumerate(layers)
    ]
    every = max(1, math.ceil(len(layers) / 12))
    return picture(
        f"Error of each layer's output, {recipe} against the float model",
        frame,
        axes(
            frame,
            [((i + 0.5) * width, str(i + 1)) for i in range(0, len(layers), every)],
            ticks(0, tallest, lambda v: f"{100 * v:g}%"),
            "layer, in the order they run",
            "error",
        ),
        bars,
    )


def confidence(recipe: str, variant: Sequence[int], source: Sequence[int]) -> Element:
    """Samples by the highest probability: the variant as bars, the source as an outline."""
    return _distribution(
        f"Confidence of {recipe} and of its source",
        variant,
        source,
        [(s / 4, f"{25 * s}%") for s in range(5)],
        ("highest probability of an answer", "samples, log scale"),
    )


def values(recipe: str, output: Json) -> Element:
    """How often an output has which values: the variant as bars, the source as an outline."""
    low, high = output["low"], output["high"]
    return _distribution(
        f"Values of {output['output']} by {recipe} and by its source",
        output["variant"],
        output["source"],
        ticks(low, high, lambda v: f"{v:.4g}"),
        ("value", "numbers, log scale"),
    )


def _distribution(
    name: str,
    variant: Sequence[int],
    source: Sequence[int],
    x_ticks: Sequence[tuple[float, str]],
    titles: tuple[str, str],
) -> Element:
    """Counts in equal bins, on a log scale: what is rare is what changes."""
    frame = Frame(350, 220)
    top = math.log10(1 + max(*variant, *source, 1)) * 1.05
    bins = len(variant)

    def up(count: int) -> float:
        return frame.y(math.log10(1 + count) / top)

    steps = "".join(f" V{up(count):.1f} H{frame.x((i + 1) / bins):.1f}" for i, count in enumerate(source))
    decades = [10**n for n in range(12) if math.log10(1 + 10**n) <= top]
    every = max(1, math.ceil(len(decades) / 6))
    return picture(
        name,
        frame,
        axes(
            frame,
            x_ticks,
            [(0.0, "0"), *((math.log10(1 + n) / top, f"{n:.0e}" if n > 10**5 else f"{n:,}") for n in decades[::every])],
            *titles,
        ),
        [
            el(
                "rect", el("title", f"{count} (source {source[i]})"),
                x=frame.x((i + 0.08) / bins), width=0.84 / bins * (frame.x(1) - frame.left), y=up(count),
                height=frame.floor - up(count), class_="bar",
            )
            for i, count in enumerate(variant)
        ],
        el("path", d=f"M{frame.left:.1f},{frame.floor:.1f}{steps} V{frame.floor:.1f}", class_="outline"),
    )  # fmt: skip


def confusion(recipe: str, examination: Json, names: Sequence[str]) -> Element:
    """Samples by the source's answer (rows) and the variant's (columns); where both agree, muted."""
    classes = len(names)
    side = max(22.0, min(40.0, 300 / classes))
    longest = max(len(n) for n in names)
    margin = 40 + min(90.0, 6.5 * longest)
    frame = Frame(margin + classes * side + 10, margin + classes * side + 10)
    counts = {(p["source"], p["variant"]): p["count"] for p in examination["pairs"]}
    most = max(counts.values(), default=1)
    cells: list[Element] = []
    for row in range(classes):
        for column in range(classes):
            agreed = examination["agreed"][row] if row == column and examination["agreed"] else 0
            count = counts.get((row, column), agreed)
            cells += _cell(margin + column * side, margin + row * side, side, count, most, is_agreed=row == column)
    middle = margin + classes * side / 2
    return picture(
        f"Answers of {recipe} against its source's",
        frame,
        cells,
        [_row_name(n, margin, margin + (i + 0.5) * side) for i, n in enumerate(names)],
        [_column_name(n, margin + (i + 0.5) * side, margin, longest) for i, n in enumerate(names)],
        el("text", "variant", x=middle, y=14, text_anchor="middle", class_="title"),
        el(
            "text", "source", x=12, y=middle, text_anchor="middle", class_="title",
            transform=f"rotate(-90 12 {middle:g})",
        ),
    )  # fmt: skip


def _cell(x: float, y: float, side: float, count: int, most: int, *, is_agreed: bool) -> list[Element]:
    opacity = 0.15 + 0.85 * count / most if count and not is_agreed else 0.0
    box = el(
        "rect", x=x, y=y, width=side - 1, height=side - 1, class_="agreed" if is_agreed else "cell",
        fill_opacity=None if is_agreed else opacity,
    )  # fmt: skip
    if not count:
        return [box]
    strong = "on-accent" if opacity > 0.8 else "muted" if is_agreed else ""
    text = el("text", f"{count}", x=x + side / 2, y=y + side / 2 + 4, text_anchor="middle", class_=strong or None)
    return [box, text]


def _row_name(name: str, margin: float, y: float) -> Element:
    return el("text", _short(name), x=margin - 6, y=y + 4, text_anchor="end")


def _column_name(name: str, x: float, margin: float, longest: int) -> Element:
    if longest <= 3:
        return el("text", name, x=x, y=margin - 6, text_anchor="middle")
    return el("text", _short(name), x=x + 4, y=margin - 6, transform=f"rotate(-90 {x + 4:.1f} {margin - 6:.1f})")


def _short(name: str) -> str:
    return name if len(name) <= 13 else f"{name[:12]}…"
