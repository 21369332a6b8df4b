"""Runs benchmarks by name, all of them without a name, and writes docs/benchmarks.md when all ran."""

import argparse
import json
from pathlib import Path

from tests.benchmarks.converting import converting
from tests.benchmarks.figure import Benchmark, Figure
from tests.benchmarks.inferring import inferring
from tests.benchmarks.listing import listing
from tests.benchmarks.starting import starting
from tests.benchmarks.watching import watching

BENCHMARKS: dict[str, Benchmark] = {
    "starting": starting,
    "listing": listing,
    "watching": watching,
    "converting": converting,
    "inferring": inferring,
}
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    arguments = parser.parse_args()
    figures = []
    for name in arguments.names or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            figures.append((name, figure))
            print(json.dumps(figure.json()) if arguments.json else _line(figure), flush=True)
    if not arguments.names:
        PAGE.write_text(_page(figures))


def _line(f: Figure) -> str:
    return f"{'met   ' if f.met else 'MISSED'} {f.name}: {f.value:.4g} {f.unit} (goal {f.comparison} {f.goal:g})"


def _page(figures: list[tuple[str, Figure]]) -> str:
    rows = [
        f"| {f.name} | {f.value:.4g} {f.unit} | {f.comparison} {f.goal:g} | {'yes' if f.met else '**no**'} "
        f"| `python -m tests.benchmarks {name}` | {f.json()['conditions']} |"
        for name, f in figures
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`. Two cores, nothing else running; absolutes hang on the machine.",
            "",
            "| figure | measured | goal | met | again with | conditions |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
