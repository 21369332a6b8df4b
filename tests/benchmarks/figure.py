"""What a benchmark reports."""

import operator
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its goal. `sides` are the two numbers of a ratio."""

    name: str
    value: float
    unit: str
    goal: float
    comparison: Literal["<", "<=", ">="]
    sides: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        return _COMPARE[self.comparison](self.value, self.goal)

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 6),
            "unit": self.unit,
            "goal": f"{self.comparison} {self.goal:g}",
            "met": self.met,
            "sides": {k: round(v, 6) for k, v in self.sides.items()},
            "seed": self.seed,
            "conditions": f"{platform.machine()}, Python {platform.python_version()}"
            + (f"; {self.note}" if self.note else ""),
        }


Benchmark = Callable[[], Sequence[Figure]]
