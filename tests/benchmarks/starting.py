"""How long programs take to say that they are there."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.figures import Figure, Run


def starting(_run: Run) -> Sequence[Figure]:
    """`--help` of the agent and of the command line, wall seconds, median of seven after one that warms the disk."""
    bin_dir = Path(sys.executable).parent
    return [
        Figure("agent-help", _seconds([str(bin_dir / "litefleet-agent"), "--help"]), "s", 0.5, "<"),
        Figure("cli-help", _seconds([str(bin_dir / "litefleet"), "--help"]), "s", 1.0, "<"),
    ]


def _seconds(command: list[str]) -> float:
    times = []
    for _ in range(8):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
