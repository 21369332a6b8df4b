"""SQLite's write lock, held by another process for longer than anybody waits for it, while a rollout runs.

As a careless backup does it, or a `sqlite3` shell that somebody left open in the middle of a transaction.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tests.faults.rollout_rules import broken_rules
from tests.faults.shipped import VERSIONS, shipped, until
from tests.faults.unavailable import Asked, seconds_until, tracebacks
from tests.figures import Figure, Run

_CODE = "DatabaseLocked"
_HOLD_S, _SAMPLE_HOLD_S = 60.0, 1.0
_WAIT_GOAL_S = 20.0
"""Below the 30 seconds after which clients and their proxies usually give up."""
_BACK_GOAL_S = 10.0
_OUT_GOAL_S = 60.0
_TARGET = next(iter(VERSIONS))
_LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
database.rollback()
"""


def database_locked(run: Run) -> Sequence[Figure]:
    """What was answered meanwhile and how soon, what was lost, and how long until it went on afterwards."""
    names = ("b-1",) if run.sample else ("b-1", "b-2", "b-3")
    with (
        tempfile.TemporaryDirectory() as folder,
        shipped(Path(folder), names) as fleet,
        closing(Asked(fleet)) as asked,
    ):
        position = fleet.audit.position()
        fleet.roll_out(_TARGET)
        until(lambda: any(t.assigned for t in fleet.audit.since(position)), "the first command", 60)
        for _ in range(5):
            asked.write(_CODE)
        with _locked(fleet.data / "litefleet.db"):
            end = time.monotonic() + (_SAMPLE_HOLD_S if run.sample else _HOLD_S)
            while not asked.refused or time.monotonic() < end:
                asked.write(_CODE)
                asked.read()
                if asked.readiness(_CODE):
                    asked.wrong.append("readyz says ready while nothing can be written")
        freed = time.monotonic()
        writable_s = seconds_until(lambda: asked.write(_CODE), 60)
        seconds_until(lambda: asked.readiness(_CODE), 60)
        ready_s = time.monotonic() - freed
        seconds_until(lambda: fleet.is_out(_TARGET), 180)
        out_s = time.monotonic() - freed
        rules = broken_rules(fleet.audit.since(position), _TARGET, len(names))
        wrong = [*asked.wrong, *tracebacks(fleet.directory), *rules]
        lost = asked.lost()
    sides = {"acknowledged": len(asked.acknowledged), "refused": asked.refused[_CODE]}
    back = {"first write s": writable_s, "readyz s": ready_s}
    note = "; ".join(wrong[:5])
    return [
        Figure("database-locked-lost", len(lost), "acknowledged writes", 0, "==", sides, run.seed),
        Figure("database-locked-wrong", len(wrong), "faults", 0, "==", sides, run.seed, note),
        Figure("database-locked-wait", asked.slowest_s, "s, longest", _WAIT_GOAL_S, "<=", sides, run.seed),
        Figure("database-locked-back", ready_s, "s", _BACK_GOAL_S, "<=", back, run.seed, "from the lock's end"),
        Figure("database-locked-converged", out_s, "s", _OUT_GOAL_S, "<=", back, run.seed, "the rollout's end"),
    ]


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    command = [sys.executable, "-c", _LOCKER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            yield
        finally:
            other.communicate()
