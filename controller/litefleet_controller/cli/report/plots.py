"""The report's pictures, each drawn from numbers that stand in text beside it. Pure."""

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from litefleet_controller.cli.report.axes import Frame, axes, picture, ticks
from litefleet_controller.cli.report.markup import Child, el

Json = dict[str, Any]
_KIB = 1024
_LABEL = 13
"""Height of a line of text."""
MAX_MATRIX = 20
"""Classes that a matrix is drawn for."""
_STAR = "M0,-8 L2.2,-2.8 7.6,-2.5 3.5,1 4.7,6.5 0,3.5 -4.7,6.5 -3.5,1 -7.6,-2.5 -2.2,-2.8 Z"


def front_of(candidates: Sequence[Json]) -> list[Json]:
    """Those that hold the limits and that no other one beats in size or accuracy without losing in the other."""
    held = [c for c in candidates if c["verdict"] not in ("Refused", "Duplicate") and c.get("accuracy") is not None]
    front: list[Json] = []
    for c in sorted(held, key=lambda c: (c["sizeBytes"], -c["accuracy"])):
        if not front or c["accuracy"] > front[-1]["accuracy"]:
            front.append(c)
    return front


def scatter(device_class: str, candidates: Sequence[Json], source_accuracy: float | None) -> Element:
    """Size against accuracy, with the front as a staircase and the source's accuracy as a line."""
    frame = Frame(720, 340, left=64)
    drawn = [c for c in candidates if c.get("accuracy") is not None and c["verdict"] != "Duplicate"]
    widest = 1.08 * max(c["sizeBytes"] for c in drawn) / _KIB
    levels = [c["accuracy"] for c in drawn] + ([source_accuracy] if source_accuracy is not None else [])
    pad = max(0.15 * (max(levels) - min(levels)), 0.002)
    low, high = max(0.0, min(levels) - pad), min(1.0, max(levels) + pad)
    at = [(c, frame.x(c["sizeBytes"] / _KIB / widest), frame.y((c["accuracy"] - low) / (high - low))) for c in drawn]
    digits = 2 if high - low < 0.02 else 1
    line: Child = None
    if source_accuracy is not None:
        level = frame.y((source_accuracy - low) / (high - low))
        line = [
            el("line", x1=frame.left, x2=frame.x(1), y1=level, y2=level, class_="source"),
            el("text", "source", x=frame.left + 4, y=level - 5, class_="muted"),
        ]
    return picture(
        f"Size against accuracy of the candidates for {device_class}",
        frame,
        axes(
            frame,
            ticks(0, widest, lambda v: f"{v:g}"),
            ticks(low, high, lambda v: f"{100 * v:.{digits}f}%"),
            "size, KiB",
            "accuracy",
        ),
        line,
        _staircase(frame, [(x, y) for c, x, y in at if c in front_of(drawn)]),
        _labels(frame, at),
        [_point(c, x, y) for c, x, y in at],
    )


def _staircase(frame: Frame, points: Sequence[tuple[float, float]]) -> Element | None:
    if not points:
        return None
    ordered = sorted(points)
    path = f"M{ordered[0][0]:.1f},{frame.floor:.1f} V{ordered[0][1]:.1f}"
    path += "".join(f" H{x:.1f} V{y:.1f}" for x, y in ordered[1:])
    return el("path", d=f"{path} H{frame.x(1):.1f}", class_="front")


def _point(c: Json, x: float, y: float) -> Element:
    name = el("title", f"{c['recipe']}: {c['sizeBytes']} bytes, accuracy {100 * c['accuracy']:.2f}%")
    match c["verdict"]:
        case "Picked":
            return el("path", name, d=_STAR, transform=f"translate({x:.1f} {y:.1f}) scale(1.25)", class_="picked")
        case "Refused":
            return el("path", name, d=f"M{x - 4:.1f},{y - 4:.1f} l8,8 m0,-8 l-8,8", class_="refused")
        case verdict:
            return el("circle", name, cx=x, cy=y, r=4.5, class_="dominated" if verdict == "Dominated" else "on-front")


def _labels(frame: Frame, at: Sequence[tuple[Json, float, float]]) -> list[Element]:
    """Names beside the points, pushed down where they would lie over each other or over another point."""
    placed: list[tuple[float, float, float]] = [(x - 9, x + 9, y + 4) for _, x, y in at]
    made = []
    for c, x, y in sorted(at, key=lambda p: (p[2], p[1])):
        width = 7.2 * len(c["recipe"])
        left = x + 12 if x + 12 + width < frame.width else x - 12 - width
        line = y + 4
        while any(abs(line - other) < _LABEL and left < end and start < left + width for start, end, other in placed):
            line += 2
        placed.append((left, left + width, line))
        if line > y + _LABEL / 2:
            edge = left - 2 if left > x else left + width + 2
            made.append(el("line", x1=x, y1=y, x2=edge, y2=line - 4, class_="leader"))
        made.append(el("text", c["recipe"], x=left, y=line, class_="name"))
    return made


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
    """Samples by the highest probability: the variant as bars, the source as an outline; counts on a log scale."""
    frame = Frame(350, 220)
    top = math.log10(1 + max(*variant, *source, 1)) * 1.05
    bins = len(variant)

    def up(count: int) -> float:
        return frame.y(math.log10(1 + count) / top)

    steps = "".join(f" V{up(count):.1f} H{frame.x((i + 1) / bins):.1f}" for i, count in enumerate(source))
    decades = [10**n for n in range(7) if math.log10(1 + 10**n) <= top]
    return picture(
        f"Confidence of {recipe} and of its source",
        frame,
        axes(
            frame,
            [(s / 4, f"{25 * s}%") for s in range(5)],
            [(0.0, "0"), *((math.log10(1 + n) / top, f"{n:,}") for n in decades)],
            "highest probability of an answer",
            "samples, log scale",
        ),
        [
            el(
                "rect", el("title", f"{100 * i // bins}% to {100 * (i + 1) // bins}%: {count} (source {source[i]})"),
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
