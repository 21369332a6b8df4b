"""Clocks in 1970 and in 2061, on the controller, on boards, or both, that jump while a rollout is on its way.

A case begins with a fleet made under its first clocks (CA, certificates, tokens, boards that join), and rolls out a
version with a timed pause in it. Then the next version is released, and the clocks are set to what comes next while it
is on its way; in some cases the controller is killed first, so that its lease, written under the clock of before, is
still there. The wall clocks are wrong for the programs alone (wrong_clock.py), for the broker, too.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.faults.site import Audit, Site, seconds_until, site
from tests.faults.wrong_clock import EARLY, LATE, Clock
from tests.figures import Figure, Run

GOAL_S = 45.0
"""Two steps with a second's probation and a pause of two take some 10 s with the clocks right, a killed controller's
start and lease another 20: who sets a clock shouldn't have to look at the fleet for longer than a minute."""
_LIMIT_S = 240.0

When = datetime | None
"""What a clock is set to; None for the truth."""


@dataclass(frozen=True)
class Case:
    """Clocks of (controller, boards), one after the other."""

    name: str
    clocks: Sequence[tuple[When, When]]
    killed: bool = False
    """Whether the controller is killed before each jump."""
    joined: bool = True
    """Whether a board joins after each jump."""


CASES = (
    Case("from 1970 to the truth", [(EARLY, EARLY), (None, None)]),
    Case("from 2061 to the truth", [(LATE, LATE), (None, None)]),
    Case("from 2061 to the truth, killed", [(LATE, LATE), (None, None)], killed=True),
    Case("from 1970 to the truth, killed", [(EARLY, EARLY), (None, None)], killed=True),
    Case("the controller ahead and back", [(None, None), (LATE, None), (None, None)]),
    Case("the controller behind and back", [(None, None), (EARLY, None), (None, None)], killed=True),
    Case("boards in 2061, then in 1970", [(None, LATE), (None, EARLY), (None, None)]),
    Case("from 1970 to 2061 and to the truth", [(EARLY, EARLY), (LATE, LATE), (None, None)], killed=True),
)
_SAMPLE = Case("from 2061 and 1970 to the truth", [(LATE, EARLY), (None, None)], joined=False)


@dataclass
class _Seen:
    jumps: int = 0
    converged: list[float] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)


def clocks(run: Run) -> Sequence[Figure]:
    seen = _Seen()
    for case in (_SAMPLE,) if run.sample else CASES:
        folder = Path(tempfile.mkdtemp(prefix="litefleet-clocks-"))
        try:
            with site(folder) as here:
                _try(here, case, seen, boards=1 if run.sample else 2)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    note = f"{len(seen.audits)} fleets, {seen.jumps} jumps, {sum(a.answers for a in seen.audits)} answers"

    def figure(name: str, value: float, unit: str, goal: float, comparison: str = "==", **sides: float) -> Figure:
        return Figure(name, value, unit, goal, comparison, sides, run.seed, note)  # type: ignore[arg-type]

    return [
        figure("clocks: inferences lost", sum(a.lost for a in seen.audits), "inferences", 0),
        figure("clocks: answers of a wrong version", sum(a.wrong for a in seen.audits), "answers", 0),
        figure(
            "clocks: answers that telemetry missed or counted twice", sum(a.miscounted for a in seen.audits),
            "answers", 0,
        ),
        figure("clocks: windows of a wrong clock that are believed", sum(a.believed for a in seen.audits), "windows", 0),
        figure("clocks: jumps", seen.jumps, "jumps", 1 if run.sample else 10, ">="),
        figure(
            "clocks: from a jump to a finished rollout", max(seen.converged), "s", GOAL_S, "<=",
            mean=sum(seen.converged) / len(seen.converged),
        ),
    ]  # fmt: skip


def _try(here: Site, case: Case, seen: _Seen, boards: int) -> None:
    controller, board = Clock(here.directory, "controller"), Clock(here.directory, "board")
    here.environment, here.board_environment = controller.environment, board.environment
    _set(controller, board, *case.clocks[0])
    here.stock([1, 2, 3], padding_bytes=200_000)
    here.up()
    version = here.declare([{"setWeight": 50}, {"pause": {"duration": "2s"}}])
    for n in range(boards):
        here.board(f"board-{n}")
    for number, (of_controller, of_boards) in enumerate(case.clocks[1:], 1):
        here.wait(f"{version} everywhere ({case.name})", lambda v=version: here.converged(v), _LIMIT_S)
        version = here.release()
        seconds_until(
            lambda v=version: _is_going(here, v), _LIMIT_S, f"the rollout of {version} to begin ({case.name})"
        )
        began = time.monotonic()
        if case.killed:
            here.kill_controller()
        _set(controller, board, of_controller, of_boards)
        if case.killed:
            here.up()
        seen.jumps += 1
        if case.joined:
            here.board(f"late-{number}")
        here.wait(f"{version} everywhere ({case.name})", lambda v=version: here.converged(v), _LIMIT_S)
        seen.converged.append(time.monotonic() - began)
    seen.audits.append(here.audit())


def _set(controller: Clock, board: Clock, of_controller: When, of_boards: When) -> None:
    for clock, moment in ((controller, of_controller), (board, of_boards)):
        clock.set(moment)


def _is_going(here: Site, version: str) -> bool:
    rollout = here.status("modelrollouts", "digits")
    return rollout.get("targetVersion") == version and rollout.get("currentStepIndex") is not None
