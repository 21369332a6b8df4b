"""What there was to choose from, as a picture: size against accuracy, with the front. Pure."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from litefleet_controller.cli.report.axes import Frame, axes, picture, ticks
from litefleet_controller.cli.report.markup import el

Json = dict[str, Any]
_KIB = 1024
_LAYERS = ("Refused", "Dominated", "Front", "Picked")
_LABEL = 13
"""Height of a line of text."""
_STAR = "M0,-8 L2.2,-2.8 7.6,-2.5 3.5,1 4.7,6.5 0,3.5 -4.7,6.5 -3.5,1 -7.6,-2.5 -2.2,-2.8 Z"


def front_of(candidates: Sequence[Json]) -> list[Json]:
    """Those that hold the limits and that no other one beats in size or accuracy without losing in the other."""
    quality = quality_of(candidates)
    held = [c for c in candidates if c["verdict"] not in ("Refused", "Duplicate") and c.get(quality) is not None]
    front: list[Json] = []
    for c in sorted(held, key=lambda c: (c["sizeBytes"], -c[quality])):
        if not front or c[quality] > front[-1][quality]:
            front.append(c)
    return front


def quality_of(candidates: Sequence[Json]) -> str:
    """What is held against size: models that aren't classifiers have no accuracy."""
    return "accuracy" if any(c.get("accuracy") is not None for c in candidates) else "agreement"


def scatter(device_class: str, candidates: Sequence[Json], source_accuracy: float | None) -> Element:
    """Size against accuracy, with the front as a staircase and the source's accuracy as a line."""
    frame = Frame(720, 340, left=64)
    quality = quality_of(candidates)
    drawn = [c for c in candidates if c.get(quality) is not None and c["verdict"] != "Duplicate"]
    widest = 1.08 * max(c["sizeBytes"] for c in drawn) / _KIB
    levels = [c[quality] for c in drawn] + ([source_accuracy] if source_accuracy is not None else [])
    pad = max(0.15 * (max(levels) - min(levels)), 0.002)
    low, high = max(0.0, min(levels) - pad), min(1.0, max(levels) + pad)

    def up(level: float) -> float:
        return frame.y((level - low) / (high - low))

    at = [(c, frame.x(c["sizeBytes"] / _KIB / widest), up(c[quality])) for c in drawn]
    front = front_of(drawn)
    digits = 2 if high - low < 0.02 else 1
    return picture(
        f"Size against {quality} of the candidates for {device_class}",
        frame,
        axes(
            frame,
            ticks(0, widest, lambda v: f"{v:g}"),
            ticks(low, high, lambda v: f"{100 * v:.{digits}f}%"),
            "size, KiB",
            quality,
        ),
        _level(frame, up(source_accuracy)) if source_accuracy is not None else None,
        _staircase(frame, [(x, y) for c, x, y in at if c in front]),
        _labels(frame, at),
        # What was picked over what is on the front over the rest, where they lie close together.
        [_point(c, x, y, quality) for c, x, y in sorted(at, key=lambda p: _LAYERS.index(p[0]["verdict"]))],
    )


def _level(frame: Frame, y: float) -> list[Element]:
    return [
        el("line", x1=frame.left, x2=frame.x(1), y1=y, y2=y, class_="source"),
        el("text", "source", x=frame.left + 4, y=y - 5, class_="muted"),
    ]


def _staircase(frame: Frame, points: Sequence[tuple[float, float]]) -> Element | None:
    if not points:
        return None
    ordered = sorted(points)
    path = f"M{ordered[0][0]:.1f},{frame.floor:.1f} V{ordered[0][1]:.1f}"
    path += "".join(f" H{x:.1f} V{y:.1f}" for x, y in ordered[1:])
    return el("path", d=f"{path} H{frame.x(1):.1f}", class_="front")


def _point(c: Json, x: float, y: float, quality: str) -> Element:
    name = el("title", f"{c['recipe']}: {c['sizeBytes']} bytes, {quality} {100 * c[quality]:.2f}%")
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
