"""Figures that anyone can measure again: `python -m tests.benchmarks [NAME ...] [--json]`, or `make bench` for all.

A figure that misses its goal is reported as missed, never left out.
"""

from tests.benchmarks.catalog import catalog
from tests.benchmarks.converting import converting
from tests.benchmarks.delivering import delivering
from tests.benchmarks.engines import engines
from tests.benchmarks.footprint import footprint
from tests.benchmarks.ingesting import ingesting
from tests.benchmarks.listing import listing
from tests.benchmarks.looping import looping
from tests.benchmarks.outside import outside
from tests.benchmarks.starting import starting
from tests.benchmarks.swapping import swapping
from tests.benchmarks.telemetry import telemetry
from tests.benchmarks.watching import watching
from tests.figures import Measure

BENCHMARKS: dict[str, Measure] = {
    "starting": starting,
    "listing": listing,
    "watching": watching,
    "converting": converting,
    "outside": outside,
    "catalog": catalog,
    "looping": looping,
    "ingesting": ingesting,
    "delivering": delivering,
    "telemetry": telemetry,
    "swapping": swapping,
    "footprint": footprint,
    "engines": engines,
}
