"""The proof: every answer of every board is computed again and must be that of the one version it claims.

Boards write each answer with the input's name, a number that has no gaps, the artifact and the raw output. Here each
artifact's file runs over each live image once more, in a child process, and the recorded outputs are compared with
that. An answer that the claimed version would not give is *wrong*, a number that is missing is *lost*.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litefleet_controller.cli.errors import CliError

TOLERANCE = 1e-5
"""Of a probability. The same file on the same processor gives the same numbers; versions differ by far more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one board's answers."""

    inferences: int
    lost: int
    wrong: int
    longest_gap_ms: float
    """Longest time between two answers of which one is the last of a version and the next the first of another."""
    swaps: int


Expected = Mapping[str, Mapping[str, list[float]]]
"""Artifact (or file) -> input's name -> output."""


def expected_outputs(models: Mapping[str, Path], live: Path, scale: float, work: Path) -> Expected:
    """What each artifact answers for each live image, computed in a child process by the real interpreter.

    Raises:
        CliError: the child failed.
    """
    job, out = work / "replay.json", work / "replay-out.json"
    job.write_text(
        json.dumps(
            {"models": {k: str(v) for k, v in models.items()}, "inputs": str(live), "scale": scale, "channels": 1}
        )
    )
    command = [sys.executable, "-m", "litefleet_controller.convert.replay", str(job), str(out)]
    done = subprocess.run(command, capture_output=True, timeout=180, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise CliError(f"recomputing the answers failed: {done.stderr.decode(errors='replace')[-400:]}", "DemoFailed")
    found: dict[str, dict[str, list[float]]] = json.loads(out.read_text())
    return found


def judge(answers: Path, expected: Expected) -> Verdict:
    """Check one board's file of answers."""
    count = wrong = lost = swaps = 0
    gap = 0.0
    before: dict[str, Any] | None = None
    for row in _rows(answers):
        gone = row["seq"] - (before["seq"] + 1 if before else 0)
        lost += max(0, gone)
        if "error" in row:
            lost += 1
        else:
            count += 1
            wrong += not _is_of(expected, row["artifact"], row)
        if before and before.get("artifact") != row.get("artifact"):
            swaps += 1
            gap = max(gap, (row["t"] - before["t"]) * 1000)
        before = row
    return Verdict(count, lost, wrong, round(gap, 1), swaps)


def _is_of(expected: Expected, artifact: str, row: Mapping[str, Any]) -> bool:
    """Whether the answer is that of `artifact`, number for number."""
    wanted = expected.get(artifact, {}).get(row["input"])
    got = row["output"]
    return (
        wanted is not None
        and len(wanted) == len(got)
        and all(abs(w - g) <= TOLERANCE for w, g in zip(wanted, got, strict=True))
    )


def indistinguishable(outputs: Expected) -> int:
    """Pairs of different files that answer every live image alike, hence can't be told apart by their answers."""
    return sum(
        all(
            max(abs(p - q) for p, q in zip(a[name], b[name], strict=True)) <= TOLERANCE
            for name in a
        )
        for a, b in itertools.combinations(outputs.values(), 2)
    )  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):  # a line that is being written when its board is stopped is not an answer yet
                yield json.loads(line)
