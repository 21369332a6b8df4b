"""When two detectors see the same things, and what of that a board must see.

Number by number lists of detections can't be compared: two scores that change places change every number of two rows.
So rows are paired first, by class and by how much their boxes overlap, and what is measured is the pairs and what
stays alone. Runs in workers; imports numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.interface import OutputCloseness
from litefleet_controller.convert.proving.comparing import Closeness, Score, spread
from litefleet_controller.convert.samples.golden import GOLDEN_SAMPLES, golden_file
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.detections import Detections

_SAME_THING = 0.5
"""Intersection over union from which two boxes are of one thing, as PASCAL VOC has it."""


class SameThings:
    """Implements `comparing.Yardstick` for detectors.

    A sample's errors: of the boxes, the root mean square difference of pairs, weighed by the source's scores, over the
    output's spread; of the scores, the root mean square difference over all pairs and all rows that stay alone, over
    the spread; of the classes, the share of the scores that stays alone. What stays alone counts by what its score
    is above the lowest that the other list would have had room for: a detection at the threshold may come and go.
    Other outputs are measured as `Closeness` does.
    """

    def __init__(self, source: Sequence[Floats], names: Sequence[str], tolerance: float, where: Detections) -> None:
        """`source`: float32 (N, ...) an output, cleared."""
        self._source, self._names, self._tolerance, self._where = source, names, tolerance, where
        self._others = [n for n in range(len(source)) if n not in (*where.lists, where.count)]
        self.source_accuracy: float | None = None

    def score(self, outputs: Sequence[Floats]) -> Score:
        """Compare thing by thing."""
        where, samples = self._where, len(outputs[0])
        each = np.array([self._apart(outputs, n) for n in range(samples)]).reshape(samples, 3)
        spreads = (spread(self._source[where.boxes]), 1.0, spread(self._source[where.scores]))
        errors = each / np.array(spreads)
        agrees = errors.max(axis=1) <= self._tolerance
        measured = {
            place: _closeness(self._names[place], spreads[n], errors[:, n]) for n, place in enumerate(where.lists)
        }
        for place in self._others:
            alone = Closeness([self._source[place]], [self._names[place]], self._tolerance)
            measured[place] = alone.score([outputs[place]]).closeness[0]
            agrees &= alone.agrees([outputs[place]])
        return Score(agreement=float(agrees.mean()), closeness=tuple(measured[n] for n in sorted(measured)))

    def _apart(self, outputs: Sequence[Floats], n: int) -> tuple[float, float, float]:
        """What sample `n` differs by: boxes, classes, scores."""
        wanted, got = _listed(self._source, self._where, n), _listed(outputs, self._where, n)
        pairs = _pairs(wanted, got)
        i, j = [p[0] for p in pairs], [p[1] for p in pairs]
        alone = np.concatenate([_surplus(wanted, i, got), _surplus(got, j, wanted)])
        differ = wanted.scores[i] - got.scores[j]
        weights = wanted.scores[i]
        moved = np.square(wanted.boxes[i] - got.boxes[j]).mean(axis=1)
        total = float(weights.sum()) + float(alone.sum())
        return (
            math.sqrt(float((weights * moved).sum() / weights.sum())) if weights.sum() > 0 else 0.0,
            float(alone.sum()) / total if total > 0 else 0.0,
            math.sqrt(float(np.square(np.concatenate([differ, alone])).mean())) if len(differ) + len(alone) else 0.0,
        )


@dataclass(frozen=True, slots=True)
class _List:
    """One sample's detections."""

    boxes: Floats
    classes: Floats
    scores: Floats
    least: float
    """The score that one more would have needed to be listed."""


def _listed(outputs: Sequence[Floats], where: Detections, n: int) -> _List:
    count, scores = int(outputs[where.count].reshape(-1)[n]), outputs[where.scores][n]
    least = float(scores[-1]) if count >= len(scores) > 0 else where.threshold
    return _List(outputs[where.boxes][n][:count], outputs[where.classes][n][:count], scores[:count], least)


def _pairs(wanted: _List, got: _List) -> list[tuple[int, int]]:
    """Rows of the two that are one thing: of one class, the largest overlap first, each row once."""
    overlaps = _overlaps(wanted.boxes, got.boxes) * (wanted.classes[:, None] == got.classes[None])
    pairs = []
    while overlaps.size and overlaps.max() >= _SAME_THING:
        i, j = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(i), int(j)))
        overlaps[i], overlaps[:, j] = 0, 0
    return pairs


def _overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (n, 4) and (m, 4), as (n, m)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - common
    shares: Floats = np.where(union > 0, common / np.where(union > 0, union, 1), 0)
    return shares


def _surplus(mine: _List, paired: Sequence[int], other: _List) -> Floats:
    """What the scores of the rows that stay alone are above what the other list would have shown."""
    alone = np.delete(mine.scores, list(paired))
    surplus: Floats = np.clip(alone - other.least, 0, None)
    return surplus


def _closeness(name: str, spread_: float, errors: NDArray[np.float64]) -> OutputCloseness:
    noise = float(np.square(errors).mean())
    return OutputCloseness(
        output=name,
        spread=spread_,
        mean_error=float(errors.mean()),
        worst_error=float(errors.max()),
        sqnr_db=-10 * math.log10(noise) if noise > 0 else None,
    )


def golden_detections(
    x: Floats,
    outputs: Sequence[Floats],
    where: Detections,
    allowed: tuple[float, ...],
    most: int = GOLDEN_SAMPLES,
) -> tuple[bytes, int, tuple[float, ...]]:
    """As `golden_file` for a detector's outputs, and the tolerances, of which `allowed` are the usual ones.

    Another processor's rounding may swap two rows with all but the same score, or take one more in at the threshold.
    So those samples are kept that begin clearest, of their lists the rows that can't move, and one more or less counts
    as the same number.
    """
    picked, rows = certain(outputs, where, 2 * allowed[where.scores], most)
    kept = {place: np.arange(rows, dtype=np.int32) for place in (where.classes, where.scores)}
    kept[where.boxes] = np.arange(4 * rows, dtype=np.int32)
    golden, samples = golden_file(x[picked], [y[picked] for y in outputs], kept, most)
    return golden, samples, tuple(max(a, 1.0) if n == where.count else a for n, a in enumerate(allowed))


def certain(outputs: Sequence[Floats], where: Detections, margin: float, most: int) -> tuple[NDArray[np.int64], int]:
    """Up to `most` samples whose lists begin clearest, and how many of their first rows no small difference can move.

    A row is certain when its score is more than `margin` above the next one's, or above what is listed at all.
    """
    scores, counts = outputs[where.scores], outputs[where.count].reshape(-1).astype(int)
    clear = np.array([_clear(s, n, where.threshold, margin) for s, n in zip(scores, counts, strict=True)])
    clearest = np.argsort(-clear, kind="stable")[:most]
    # One that begins with a doubt would leave nothing of the others.
    picked = np.sort(clearest[clear[clearest] > 0] if clear.any() else clearest)
    return picked, int(clear[picked].min())


def _clear(scores: Floats, count: int, threshold: float, margin: float) -> int:
    """What comes behind a full list nobody knows, so its last row is certain of nothing."""
    behind = [threshold] if count < len(scores) else []
    gaps = -np.diff([*scores[:count], *behind]) > margin
    return len(gaps) if gaps.all() else int(gaps.argmin())
