"""Which of several proven variants a class should get: the Pareto front, and the pick by the class's objective.

Pure. Candidates hold the class's limits already (gate.py judged them); what is weighed here is size, memory, accuracy,
and latency where it was measured in one place: on the class's own boards, or on this machine as a hint. This machine's
processor may be another one than the boards': int8 may be slower than float32 here and three times faster there, so
whoever asks says whether the hint counts, and the reason says which of the two it was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from litefleet_controller.resources.recipe import Objective

_SAME_ACCURACY = 0.002
"""Differences below this are the noise of some thousand samples, and no reason to pay for a larger file."""
_SAME_LATENCY = 1.05
"""Ratio up to which two latencies count as the same."""
Place = Literal["Boards", "Here", "Nowhere"]
"""Where latencies that were compared are from."""
Quality = Literal["accuracy", "closeness"]
"""What a candidate's accuracy is: the share of right answers, or how near numbers are to the source's (1: the same)."""
_COMPARABLE = 2
"""Candidates whose latency boards must know before it decides."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that holds the class's limits."""

    recipe: str
    size: int
    """Bytes of the model's files."""
    accuracy: float
    """Of tensors, 1 - the mean error of the output that is furthest off (comparing.py)."""
    agreement: float
    activations: int = 0
    """Bytes that are alive at once."""
    hint_ms: float | None = None
    """Median latency on this machine, one thread."""
    board_ms: float | None = None
    """Median latency on boards of the class, of this or an earlier version."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked, and why."""

    recipe: str
    reason: str
    """A sentence with the numbers."""
    front: tuple[str, ...]
    """Recipes that no other beats in everything, the best by the objective first: the picked one, then what would be
    taken in its place."""
    beaten: Mapping[str, str]
    """Recipes that are off the front, and by what, a sentence each."""
    latency_from: Place


def choose(
    candidates: Sequence[Candidate], objective: Objective, *, hint_counts: bool = True, quality: Quality = "accuracy"
) -> Choice:
    """Pick one of `candidates`, of which there is at least one.

    A candidate is off the front when another one is at least as good in size, memory, accuracy, agreement and latency,
    and better in one (Pareto dominance). The pick is the best of the front by the objective; what counts as the same
    there is decided by the other figures. `hint_counts`: whether this machine's latencies may decide; `quality`: what
    the candidates' accuracy is called.
    """
    timed = _latencies(candidates, hint_counts=hint_counts)
    front = [c for c in candidates if not any(_dominates(other, c, timed) for other in candidates)]
    front = sorted(front, key=lambda c: (*_rank(c, front, objective, timed), c.recipe))
    picked = front[0]
    return Choice(
        recipe=picked.recipe,
        reason=_reason(picked, candidates, objective, timed, quality),
        front=tuple(c.recipe for c in front),
        beaten={
            c.recipe: _beaten(c, next(f for f in front if _dominates(f, c, timed)), timed, quality)
            for c in candidates
            if c not in front
        },
        latency_from=timed.place,
    )


@dataclass(frozen=True, slots=True)
class _Timed:
    """Latencies that may be compared with each other: all from boards, or all from here."""

    by_recipe: dict[str, float]
    place: Place

    def of(self, c: Candidate) -> float:
        """What boards don't know is no better than anything that they do."""
        return self.by_recipe.get(c.recipe, math.inf if self.place == "Boards" else 0.0)


def _latencies(candidates: Sequence[Candidate], *, hint_counts: bool) -> _Timed:
    """The boards' where they can compare; else this machine's; else none: a mixture would compare machines."""
    boards = {c.recipe: c.board_ms for c in candidates if c.board_ms is not None}
    if len(boards) >= min(_COMPARABLE, len(candidates)):
        return _Timed(boards, "Boards")
    here = {c.recipe: c.hint_ms for c in candidates if c.hint_ms is not None and hint_counts}
    return _Timed(here, "Here") if len(here) == len(candidates) else _Timed({}, "Nowhere")


def _dominates(a: Candidate, b: Candidate, timed: _Timed) -> bool:
    costs_a, costs_b = _costs(a, timed), _costs(b, timed)
    return all(x <= y for x, y in zip(costs_a, costs_b, strict=True)) and costs_a != costs_b


def _costs(c: Candidate, timed: _Timed) -> tuple[float, ...]:
    return (c.size, c.activations, -c.accuracy, -c.agreement, timed.of(c))


def _beaten(c: Candidate, by: Candidate, timed: _Timed, quality: Quality) -> str:
    """In what `by`, which is worse in nothing, is better."""
    better = []
    if by.size < c.size:
        better.append(f"smaller ({by.size} bytes against {c.size})")
    if by.activations < c.activations:
        better.append(f"lighter on memory ({by.activations} bytes of activations against {c.activations})")
    if by.accuracy > c.accuracy:
        better.append(f"higher in {quality} ({by.accuracy:.3f} against {c.accuracy:.3f})")
    if by.agreement > c.agreement:
        better.append(f"more often of the source's opinion ({by.agreement:.1%} against {c.agreement:.1%})")
    if timed.of(by) < timed.of(c) < math.inf:
        better.append(f"faster ({timed.of(by):.3g} ms against {timed.of(c):.3g})")
    elif timed.of(by) < timed.of(c):
        better.append(f"known to the class's boards ({timed.of(by):.3g} ms)")
    return f"{by.recipe} is {' and '.join(better)}, and worse in nothing"


def _rank(c: Candidate, front: Sequence[Candidate], objective: Objective, timed: _Timed) -> tuple[float, ...]:
    """Smaller is better. The objective in steps of what counts as the same, measured from the best of the front."""
    best_accuracy = max(other.accuracy for other in front)
    accuracy = 0.0 if best_accuracy - c.accuracy <= _SAME_ACCURACY else -c.accuracy + best_accuracy
    latency, fastest = timed.of(c), min(map(timed.of, front))
    latency = 0.0 if latency <= fastest * _SAME_LATENCY else latency
    match objective:
        case "size":
            return c.size, accuracy, latency
        case "accuracy":
            return accuracy, latency, c.size
        case "latency":
            return latency, c.size, accuracy


def _reason(
    picked: Candidate, candidates: Sequence[Candidate], objective: Objective, timed: _Timed, quality: Quality
) -> str:
    if len(candidates) == 1:
        return f"{picked.recipe} is the only one that holds the class's limits"
    among = f"of the {len(candidates)} that hold the class's limits"
    match objective:
        case "size":
            said = f"{picked.recipe} is the smallest {among}: {picked.size} bytes; {_next(picked, candidates)}"
        case "accuracy":
            said = (
                f"{picked.recipe} answers best {among}, or as well as the best within {_SAME_ACCURACY:.1%}: {quality} "
                f"{picked.accuracy:.3f}, {picked.size} bytes{_among_equals(picked, candidates, timed)}"
            )
        case "latency" if timed.place == "Nowhere":
            has_hints = any(c.hint_ms is not None for c in candidates)
            hint = ", and this machine's are of another processor" if has_hints else ""
            said = (
                f"the class's boards haven't measured all of their latencies yet{hint}; so the smallest {among}: "
                f"{picked.recipe}, {picked.size} bytes"
            )
        case "latency":
            said = (
                f"{picked.recipe} is the fastest {among}, or as fast within {_SAME_LATENCY - 1:.0%} and smaller: "
                f"{timed.of(picked):.3g} ms {_where(timed)}{_unknown(candidates, timed)}"
            )
    return said


def _where(timed: _Timed) -> str:
    return "on the class's boards" if timed.place == "Boards" else "on this machine, which is only a hint"


def _among_equals(picked: Candidate, candidates: Sequence[Candidate], timed: _Timed) -> str:
    """What decided among those that answer as well as the picked one."""
    best_accuracy = max(c.accuracy for c in candidates)
    equals = [c for c in candidates if best_accuracy - c.accuracy <= _SAME_ACCURACY]
    if len(equals) == 1 or timed.place == "Nowhere" or timed.of(picked) == math.inf:
        return ""
    if picked.size == min(c.size for c in equals):
        return ""
    return f"; of the {len(equals)} as good the fastest: {timed.of(picked):.3g} ms {_where(timed)}"


def _unknown(candidates: Sequence[Candidate], timed: _Timed) -> str:
    names = [c.recipe for c in candidates if timed.of(c) == math.inf]
    return f"; {' and '.join(names)} {'has' if len(names) == 1 else 'have'} not run on them yet" if names else ""


def _next(picked: Candidate, candidates: Sequence[Candidate]) -> str:
    runner_up = min((c for c in candidates if c is not picked), key=lambda c: (c.size, c.recipe))
    return f"next is {runner_up.recipe} with {runner_up.size}"
