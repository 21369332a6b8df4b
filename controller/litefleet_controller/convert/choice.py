"""Which of several proven variants a class should get: the Pareto front, and the pick by the class's objective.

Pure. Candidates hold the class's limits already (gate.py judged them); what is weighed here is size, accuracy, and
latency where anybody has measured it: on the class's own boards, or on this machine as a hint. This machine's
processor is another one than the boards': int8 may be slower than float32 here and three times faster there, so a hint
is used only where no board has spoken, and the reason says which of the two it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Objective = Literal["latency", "size", "accuracy"]
_SAME_ACCURACY = 0.002
"""Differences below this are the noise of some thousand samples, and no reason to pay for a larger file."""
_SAME_LATENCY = 1.05
"""Ratio up to which two latencies count as the same."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that holds the class's limits."""

    recipe: str
    size: int
    """Bytes of the model's files."""
    accuracy: float
    agreement: float
    hint_ms: float | None = None
    """Median latency on this machine, one thread."""
    board_ms: float | None = None
    """95th percentile on boards of the class, of this or an earlier version."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked, and why."""

    recipe: str
    reason: str
    """A sentence with the numbers."""
    front: tuple[str, ...]
    """Recipes that no other beats in everything, the picked one first, then by size."""


def choose(candidates: Sequence[Candidate], objective: Objective) -> Choice:
    """Pick one of `candidates`, of which there is at least one.

    A candidate is off the front when another one is at least as good in size, accuracy and latency, and better in one
    (Pareto dominance). The pick is the best of the front by the objective; what counts as the same there is decided by
    the other two.
    """
    timed = _latencies(candidates)
    front = [c for c in candidates if not any(_dominates(other, c, timed) for other in candidates)]
    picked = min(front, key=lambda c: _rank(c, front, objective, timed))
    others = sorted((c for c in front if c is not picked), key=lambda c: (c.size, c.recipe))
    return Choice(
        picked.recipe, _reason(picked, candidates, objective, timed), (picked.recipe, *(c.recipe for c in others))
    )


@dataclass(frozen=True, slots=True)
class _Timed:
    """Latencies that may be compared with each other: all from boards, or all from here."""

    by_recipe: dict[str, float]
    source: Literal["boards", "here", "nowhere"]


def _latencies(candidates: Sequence[Candidate]) -> _Timed:
    """The boards' where they know every candidate; else this machine's; else none: a mixture would compare machines."""
    boards = {c.recipe: c.board_ms for c in candidates if c.board_ms is not None}
    if len(boards) == len(candidates):
        return _Timed(boards, "boards")
    here = {c.recipe: c.hint_ms for c in candidates if c.hint_ms is not None}
    return _Timed(here, "here") if len(here) == len(candidates) else _Timed({}, "nowhere")


def _dominates(a: Candidate, b: Candidate, timed: _Timed) -> bool:
    costs_a, costs_b = _costs(a, timed), _costs(b, timed)
    return all(x <= y for x, y in zip(costs_a, costs_b, strict=True)) and costs_a != costs_b


def _costs(c: Candidate, timed: _Timed) -> tuple[float, ...]:
    return (c.size, -c.accuracy, -c.agreement, timed.by_recipe.get(c.recipe, 0.0))


def _rank(c: Candidate, front: Sequence[Candidate], objective: Objective, timed: _Timed) -> tuple[float, ...]:
    """Smaller is better. The objective in steps of what counts as the same, measured from the best of the front."""
    best_accuracy = max(other.accuracy for other in front)
    accuracy = 0.0 if best_accuracy - c.accuracy <= _SAME_ACCURACY else -c.accuracy + best_accuracy
    latency = timed.by_recipe.get(c.recipe, 0.0)
    fastest = min((timed.by_recipe[o.recipe] for o in front if o.recipe in timed.by_recipe), default=0.0)
    latency = 0.0 if latency <= fastest * _SAME_LATENCY else latency
    match objective:
        case "size":
            return c.size, accuracy, latency
        case "accuracy":
            return accuracy, latency, c.size
        case "latency":
            return latency, c.size, accuracy


def _reason(picked: Candidate, candidates: Sequence[Candidate], objective: Objective, timed: _Timed) -> str:
    if len(candidates) == 1:
        return f"{picked.recipe} is the only one that holds the class's limits"
    among = f"of the {len(candidates)} that hold the class's limits"
    match objective:
        case "size":
            said = f"{picked.recipe} is the smallest {among}: {picked.size} bytes; {_next(picked, candidates)}"
        case "accuracy":
            said = (
                f"{picked.recipe} answers best {among}, or as well as the best within {_SAME_ACCURACY:.1%}: accuracy "
                f"{picked.accuracy:.3f}, {picked.size} bytes"
            )
        case "latency" if timed.source == "nowhere":
            said = f"nobody has measured latencies yet, so the smallest {among}: {picked.recipe}, {picked.size} bytes"
        case "latency":
            where = "on the class's boards" if timed.source == "boards" else "on this machine, which is only a hint"
            said = (
                f"{picked.recipe} is the fastest {among}, or as fast within {_SAME_LATENCY - 1:.0%} and smaller: "
                f"{timed.by_recipe[picked.recipe]:.2g} ms {where}"
            )
    return said


def _next(picked: Candidate, candidates: Sequence[Candidate]) -> str:
    runner_up = min((c for c in candidates if c is not picked), key=lambda c: (c.size, c.recipe))
    return f"next is {runner_up.recipe} with {runner_up.size}"
