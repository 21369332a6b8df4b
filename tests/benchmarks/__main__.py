"""`python -m tests.benchmarks [NAME ...] [--json] [--sample] [--keep]`."""

from pathlib import Path

from tests.benchmarks import BENCHMARKS
from tests.figures import Book, main

if __name__ == "__main__":
    main(
        Book(
            "tests.benchmarks",
            "Benchmarks",
            "Written by `make bench`, with nothing else running: absolutes hang on the machine, ratios less so.",
            Path(__file__).parents[2] / "docs" / "benchmarks.md",
        ),
        BENCHMARKS,
    )
