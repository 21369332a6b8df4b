"""A disk that is full while a rollout runs: the controller's, and a board's.

Each has a small disk of its own, which is filled to the last byte, kept full for a while, and freed. Nothing is
restarted or repaired.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.faults.rollout_rules import broken_rules, wrong_answers
from tests.faults.shipped import VERSIONS, Shipped, shipped, until
from tests.faults.small_disk import Filler
from tests.faults.unavailable import Asked, seconds_until, tracebacks
from tests.figures import Figure, Run

_CODE = "StorageFull"
_BOARD_CODE = "DiskFull"
_DISK_MB, _BOARD_DISK_MB = 24.0, 8.0
_LAST_ROOM = 2_000_000
"""Bytes that are left at first, so that the disk becomes full in the middle of somebody's work."""
_HOLD_S, _SAMPLE_HOLD_S = 20.0, 1.0
_BACK_GOAL_S = 10.0
"""Somebody who has freed space looks a few seconds later whether it goes on."""
_OUT_GOAL_S = 60.0
"""A rollout of three small boards, and the longest pause of one that looks for room."""
_SAID_GOAL_S = 30.0
"""Its turn in the rollout comes when the boards before it are done."""
_FIRST, _SECOND = VERSIONS


def disk_full(run: Run) -> Sequence[Figure]:
    """What was refused and how, what was lost, and how long until it went on after there was room again."""
    names = ("b-1",) if run.sample else ("b-1", "b-2", "b-3")
    hold_s = _SAMPLE_HOLD_S if run.sample else _HOLD_S
    with (
        tempfile.TemporaryDirectory() as folder,
        shipped(Path(folder), names, disk_mb=_DISK_MB, board_disk_mb=_BOARD_DISK_MB) as fleet,
    ):
        with closing(Asked(fleet, padding=20_000)) as asked:
            figures = _controllers(fleet, asked, hold_s, run.seed)
        return [*figures, *_boards(fleet, names[0], hold_s, run.seed)]


def _controllers(fleet: Shipped, asked: Asked, hold_s: float, seed: int) -> Sequence[Figure]:
    """The first version goes out while the controller's disk is full."""
    position = fleet.audit.position()
    fleet.roll_out(_FIRST)
    until(lambda: any(t.assigned for t in fleet.audit.since(position)), "the first command", 60)
    with Filler(fleet.data, leave_bytes=_LAST_ROOM) as filler:
        _keep_full(asked, filler, hold_s)
    freed = time.monotonic()
    writable_s = seconds_until(lambda: asked.write(_CODE), 60)
    seconds_until(lambda: asked.readiness(_CODE), 60)
    ready_s = time.monotonic() - freed
    seconds_until(lambda: fleet.is_out(_FIRST), 180)
    out_s = time.monotonic() - freed
    rules = broken_rules(fleet.audit.since(position), _FIRST, len(fleet.names))
    wrong = [*asked.wrong, *tracebacks(fleet.directory), *rules]
    sides = {
        "acknowledged": len(asked.acknowledged),
        "refused": asked.refused[_CODE],
        "longest wait s": asked.slowest_s,
    }
    back = {"first write s": writable_s, "readyz s": ready_s}
    return [
        Figure("controller-disk-full-lost", len(asked.lost()), "acknowledged writes", 0, "==", sides, seed),
        Figure("controller-disk-full-wrong", len(wrong), "faults", 0, "==", sides, seed, "; ".join(wrong[:5])),
        Figure("controller-disk-full-back", ready_s, "s", _BACK_GOAL_S, "<=", back, seed, "from the freed space"),
        Figure("controller-disk-full-converged", out_s, "s", _OUT_GOAL_S, "<=", back, seed, "the rollout's end"),
    ]


def _keep_full(asked: Asked, filler: Filler, hold_s: float) -> None:
    """Write until there is no room for it, then go on trying; nothing that ends meanwhile makes room."""
    tries = 0
    while not asked.refused[_CODE] and tries < _LAST_ROOM:
        tries += asked.padding
        asked.write(_CODE)
    end = time.monotonic() + hold_s
    unready = 0
    while not unready or time.monotonic() < end:
        filler.fill()
        asked.write(_CODE)
        asked.read()
        unready += not asked.readiness(_CODE)
        if time.monotonic() > end + 30:
            asked.wrong.append("readyz never said that the disk is full")
            return


def _boards(fleet: Shipped, name: str, hold_s: float, seed: int) -> Sequence[Figure]:
    """The second version goes out while a board's disk is full."""
    answered = len(fleet.answers(name))
    with Filler(fleet.state_of(name)) as filler:
        began = time.monotonic()
        fleet.roll_out(_SECOND)
        said_s = seconds_until(lambda: _BOARD_CODE in _codes(fleet, name, filler), 60)
        hold_until = time.monotonic() + hold_s
        while time.monotonic() < hold_until:
            filler.fill()
            time.sleep(0.2)
        held_s = time.monotonic() - began
        meanwhile = fleet.answers(name)[answered:]
    out_s = seconds_until(lambda: fleet.is_out(_SECOND), 360)
    until(lambda: fleet.answers(name)[-1].get("version") == _SECOND, f"{_SECOND}'s answers", 20)
    wrong = wrong_answers(fleet.answers(name)[answered - 1 :], _FIRST, _SECOND)
    if len(meanwhile) < held_s * 10:
        wrong.append(f"{len(meanwhile)} answers in {held_s:.0f} s, of 20 a second")
    if any(row.get("version") != _FIRST for row in meanwhile):
        wrong.append(f"{_SECOND} answered without room for it")
    wrong += _died(fleet, name)
    sides = {"full for s": held_s, "answers meanwhile": len(meanwhile), "said after s": said_s}
    return [
        Figure("board-disk-full-wrong", len(wrong), "faults", 0, "==", sides, seed, "; ".join(wrong[:5])),
        Figure("board-disk-full-said", said_s, "s", _SAID_GOAL_S, "<=", sides, seed, f"its Device says {_BOARD_CODE}"),
        Figure("board-disk-full-converged", out_s, "s", _OUT_GOAL_S, "<=", sides, seed, "the rollout's end"),
    ]


def _codes(fleet: Shipped, name: str, filler: Filler) -> tuple[Any, Any]:
    """What the board as a whole says, and what its slot says; its disk is full again before."""
    filler.fill()
    return fleet.status("devices", name).get("code"), fleet.slot(name).get("code")


def _died(fleet: Shipped, name: str) -> list[str]:
    code = fleet.boards[name].process.poll()
    return [] if code is None else [f"the agent ended with {code}"]
