"""`python -m tests.benchmarks [NAME ...] [--json] [--sample]`; writes docs/benchmarks.md when all ran."""

from pathlib import Path

from tests.benchmarks import BENCHMARKS
from tests.figures import main

if __name__ == "__main__":
    main(
        "tests.benchmarks",
        BENCHMARKS,
        Path(__file__).parents[2] / "docs" / "benchmarks.md",
        "Benchmarks",
        "Written by `make bench`. Two cores, nothing else running; absolutes hang on the machine, ratios less so.",
    )
