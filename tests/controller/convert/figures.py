"""Figures that a variant could have, for tests that look at others."""

from litefleet_controller.convert.latency import Hint

HINT = Hint(p50_ms=1.0, p99_ms=2.0, inferences=400, machine="x86_64", processor="Xeon")
