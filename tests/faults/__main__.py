"""`python -m tests.faults [NAME ...] [--json] [--sample]`; writes docs/faults.md when all ran."""

from pathlib import Path

from tests.faults import FAULTS
from tests.figures import main

if __name__ == "__main__":
    main(
        "tests.faults",
        FAULTS,
        Path(__file__).parents[2] / "docs" / "faults.md",
        "Faults",
        "Written by `make faults`: what was done to real processes on purpose, and what came of it.",
    )
