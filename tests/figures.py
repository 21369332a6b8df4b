"""The one form of measured figures, for benchmarks and faults: what they report, and how they are run and written down.

A measure is run whole (`python -m tests.benchmarks NAME --json`) or as a short sample with the same seed (`--sample`),
which is what `make test` does. What ran whole can be kept (`--keep`): as JSON lines, one a figure, and as the page that
is drawn from all of them. Each measure is kept when it ends, so hours of faults may be run in pieces, or cut short.
"""

import argparse
import datetime as dt
import json
import operator
import os
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
            "conditions": f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, Python {platform.python_version()}"
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


@dataclass(frozen=True, slots=True)
class Book:
    """Where the figures of a family of measures are kept."""

    module: str
    """What runs them: `python -m MODULE NAME`."""
    title: str
    preface: str
    page: Path

    @property
    def lines(self) -> Path:
        """One JSON object a figure, with `measure` and `date` beside what Figure.json has."""
        return self.page.with_suffix(".jsonl")

    def keep(self, measures: Mapping[str, Measure], name: str, figures: Sequence[Figure]) -> None:
        """Put the figures of measure `name` in the place of its older ones, and draw the page anew."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        kept = {measure: [line for line in self._read() if line["measure"] == measure] for measure in measures}
        kept[name] = [{"measure": name, "date": today, **figure.json()} for figure in figures]
        self.lines.write_text("".join(f"{json.dumps(line)}\n" for lines in kept.values() for line in lines), "utf-8")
        self.page.write_text(self._drawn(measures, kept), "utf-8")

    def _read(self) -> list[dict[str, Any]]:
        if not self.lines.exists():
            return []
        return [json.loads(line) for line in self.lines.read_text("utf-8").splitlines()]

    def _drawn(self, measures: Mapping[str, Measure], kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
        text = [f"# {self.title}", "", self.preface, "", _overview([line for lines in kept.values() for line in lines])]
        for name, lines in kept.items():
            if not lines:
                continue
            text += ["", f"## {name}", "", (sys.modules[measures[name].__module__].__doc__ or "").strip()]
            text += [
                "",
                "| figure | measured | goal | met | made of, and under what conditions |",
                "|---|---|---|---|---|",
            ]
            text += [_row(line) for line in lines]
            machine = lines[0]["conditions"].partition("; ")[0]
            seeds = {line["seed"] for line in lines} - {None}
            seed = f"; seed {seeds.pop()}" if len(seeds) == 1 else ""
            text += [
                "",
                f"Again with `python -m {self.module} {name}`. Measured on {lines[0]['date']}: {machine}{seed}.",
            ]
        return "\n".join([*text, ""])


def main(book: Book, measures: Mapping[str, Measure]) -> None:
    """Run measures by name, all of them without a name."""
    parser = argparse.ArgumentParser(prog=f"python -m {book.module}", description=main.__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *measures], metavar="NAME", help=", ".join(measures))
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    parser.add_argument("--sample", action="store_true", help="a short run, whose figures count for nothing")
    parser.add_argument("--keep", action="store_true", help=f"keep the figures, and draw docs/{book.page.name} anew")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.sample and arguments.keep:
        parser.error("a sample's figures count for nothing: run it whole to keep them")
    # Where this is set, each program that a measure starts would compile itself anew, which no board does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in arguments.names or measures:
        try:
            figures = measures[name](Run(arguments.seed, arguments.sample))
        except UnavailableError as e:
            print(f"{name} can't be measured here: {e}", file=sys.stderr, flush=True)
            continue
        for figure in figures:
            print(json.dumps(figure.json()) if arguments.json else _line(figure), flush=True)
        if arguments.keep:
            book.keep(measures, name, figures)


def _line(f: Figure) -> str:
    met = "met   " if f.met else "MISSED"
    return f"{met} {f.name}: {_number(f.value)} {f.unit} (goal {f.comparison} {_number(f.goal)})"


def _number(value: float) -> str:
    """For people: four digits, but no powers of ten for what is large."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _overview(lines: Sequence[Mapping[str, Any]]) -> str:
    missed = [
        f"{line['name']} ({_number(line['value'])} {line['unit']}, {line['goal']})" for line in lines if not line["met"]
    ]
    said = f"{len(lines) - len(missed)} of {len(lines)} goals are met."
    return f"{said} Missed: {'; '.join(missed)}." if missed else said


def _row(line: Mapping[str, Any]) -> str:
    sides = ", ".join(f"{name} {_number(value)}" for name, value in line["sides"].items())
    made_of = "; ".join(filter(None, (sides, line["conditions"].partition("; ")[2])))
    met = "yes" if line["met"] else "**no**"
    return f"| {line['name']} | {_number(line['value'])} {line['unit']} | {line['goal']} | {met} | {made_of} |"
