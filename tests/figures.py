"""The one form of measured figures, for benchmarks and faults: what they report, and how they are run and written down.

A measure is run whole (`python -m tests.benchmarks NAME --json`) or as a short sample with the same seed (`--sample`),
which is what `make test` does.
"""

import argparse
import json
import operator
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its goal. `sides` are the two numbers of a ratio, or what the value is made of."""

    name: str
    value: float
    unit: str
    goal: float
    comparison: Literal["<", "<=", ">=", "=="]
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


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured. Everything random comes from `seed`."""

    seed: int = 1
    sample: bool = False
    """A short run, of seconds: enough to see that the measure works and nothing is broken, too short for a figure."""


class UnavailableError(Exception):
    """This machine doesn't permit or have what a measure needs; says what."""


Measure = Callable[[Run], Sequence[Figure]]


def main(module: str, measures: Mapping[str, Measure], page: Path, title: str, preface: str) -> None:
    """Run measures by name, all of them without a name; then, when all ran whole, write `page`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *measures], metavar="NAME", help=", ".join(measures))
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    parser.add_argument("--sample", action="store_true", help="a short run, whose figures count for nothing")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    figures = []
    for name in arguments.names or measures:
        try:
            measured = measures[name](Run(arguments.seed, arguments.sample))
        except UnavailableError as e:
            print(f"{name} can't be measured here: {e}", file=sys.stderr, flush=True)
            continue
        for figure in measured:
            figures.append((name, figure))
            print(json.dumps(figure.json()) if arguments.json else _line(figure), flush=True)
    if not arguments.names and not arguments.sample:
        page.write_text(_page(module, title, preface, figures), "utf-8")


def _line(f: Figure) -> str:
    met = "met   " if f.met else "MISSED"
    return f"{met} {f.name}: {_number(f.value)} {f.unit} (goal {f.comparison} {_number(f.goal)})"


def _number(value: float) -> str:
    """For people: four digits, but no powers of ten for what is large."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _page(module: str, title: str, preface: str, figures: Sequence[tuple[str, Figure]]) -> str:
    rows = [
        f"| {f.name} | {_number(f.value)} {f.unit} | {f.comparison} {_number(f.goal)} | {'yes' if f.met else '**no**'} "
        f"| {', '.join(f'{k} {_number(v)}' for k, v in f.sides.items())} | `python -m {module} {name}` "
        f"| {f.json()['conditions']}{'' if f.seed is None else f'; seed {f.seed}'} |"
        for name, f in figures
    ]
    head = ["| figure | measured | goal | met | sides | again with | conditions |", "|---|---|---|---|---|---|---|"]
    return "\n".join([f"# {title}", "", preface, "", *head, *rows, ""])
