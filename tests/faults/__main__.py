"""`python -m tests.faults [NAME ...] [--json] [--sample] [--keep]`."""

from pathlib import Path

from tests.faults import FAULTS
from tests.figures import Book, main

if __name__ == "__main__":
    main(
        Book(
            "tests.faults",
            "Faults",
            "Written by `make faults`: what was done to real processes on purpose, and what came of it.",
            Path(__file__).parents[2] / "docs" / "faults.md",
        ),
        FAULTS,
    )
