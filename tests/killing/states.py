"""From one point where an agent is killed, all the disks that it may have to start from, and what becomes of each."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.killing import trace
from tests.killing.image import contents, last_report, saved, windows
from tests.killing.judging import broken_promises, forgotten_windows
from tests.killing.lane import Lane, Life
from tests.killing.powercut import Disk
from tests.killing.scenarios import Scenario
from tests.killing.trace import Point

MOST = 8
"""Of one operation on one path; what is repeated more often is answers."""

NESTED = 0.4
"""Share of the points from which the way back is interrupted, too."""


@dataclass(frozen=True)
class State:
    """One disk that a killed agent left, and what came of starting from it."""

    scenario: str
    what: str
    kind: str
    """kill, cut, twice, twice and cut."""
    answers: int
    wrong: list[str]
    lost: list[str]
    broken: list[str]
    """What the controller had been told and the board no longer knew."""
    repair: str
    """Why a person would have to come; empty when a plain restart was enough."""
    took_s: float
    """From that restart until the board stood where it must."""


def points_of(lane: Lane, scenario: Scenario) -> list[Point]:
    """Where an agent can be killed on the scenario's way, found by letting it go all the way."""
    life = lane.live(scenario, lane.base(scenario))
    assert life.converged, f"{scenario.name} does not work unharmed: {life.end}"
    return trace.points(life.operations, most=MOST)


def states_at(lane: Lane, scenario: Scenario, point: Point, seed: int) -> list[State]:
    """No state when the agent does not come by the point this time: not all threads do everything in the same order."""
    choose = random.Random(f"{seed}/{scenario.name}/{point}")
    base = lane.base(scenario)
    with tempfile.TemporaryDirectory(dir=lane.folder) as scratch:
        disk = Disk(base)
        killed, first = _die(lane, scenario, base, point, disk, Path(scratch) / "killed")
        if killed is None:
            return _unharmed(scenario, f"{point}, not come by", first)
        state, back = _restart(lane, scenario, killed, killed, f"{point}", "kill", [first])
        found = [state]
        for how, cut in _cuts(disk, killed, choose):
            found.append(_restart(lane, scenario, cut, killed, f"{point}, {how}", "cut")[0])
        if choose.random() >= NESTED:
            return found
        again = choose.choice(trace.points(back.operations, most=MOST))
        twice, second = _die(lane, scenario, killed, again, disk, Path(scratch) / "twice")
        what = f"{point}, then {again}"
        if twice is None:
            return found + _unharmed(scenario, f"{what}, not come by", second)
        found.append(_restart(lane, scenario, twice, twice, what, "twice", [second])[0])
        for how, cut in _cuts(disk, twice, choose):
            found.append(_restart(lane, scenario, cut, twice, f"{what}, {how}", "twice and cut")[0])
        return found


def _die(
    lane: Lane, scenario: Scenario, start: Path, point: Point, disk: Disk, image: Path
) -> tuple[Path | None, Life]:
    """Kill an agent that starts from `start`; what it left, also in `disk`."""
    life = lane.live(scenario, start, point)
    if not life.killed:
        return None, life
    lane.keep(image)
    disk.replay(life.operations)
    replayed = image.with_name(f"{image.name}-replayed")
    disk.seen(replayed)
    assert contents(replayed) == contents(image), f"the trace up to {point} misses something that the agent did"
    return image, life


def _unharmed(scenario: Scenario, what: str, life: Life) -> list[State]:
    """No state, unless it went wrong all the same."""
    if not life.end:
        return []
    return [State(scenario.name, what, "unharmed", 0, [], [], [], life.end, life.took_s)]


def _cuts(disk: Disk, killed: Path, choose: random.Random) -> Iterator[tuple[str, Path]]:
    """Disks after a power cut, as far as they differ from the one after the kill, and from one another."""
    known = [contents(killed)]
    for how, seed in (("nothing unsynced left", None), ("some of the unsynced left", choose.randrange(2**32))):
        cut = killed.with_name(f"{killed.name}-{seed}")
        disk.after_power_cut(cut, seed)
        if (found := contents(cut)) not in known:
            known.append(found)
            yield how, cut


def _restart(
    lane: Lane, scenario: Scenario, image: Path, told: Path, what: str, kind: str, lives: Sequence[Life] = ()
) -> tuple[State, Life]:
    """Start an agent from `image`; `told` is the disk at the moment of the kill, `lives` what is judged with it."""
    said = lane.status(image)
    life = lane.live(scenario, image)
    verdicts = [v for one in (*lives, life) for v in one.verdicts]
    stuck = "" if life.converged else "it does not come to where it must; "
    state = State(
        scenario.name,
        what,
        kind,
        sum(v.answers for v in verdicts),
        [w for v in verdicts for w in v.wrong],
        [lost for v in verdicts for lost in v.lost]
        + [gone for one in (*lives, life) for gone in one.gone]
        + forgotten_windows(windows(told), windows(image)),
        broken_promises(last_report(told), saved(image)),
        stuck + "; ".join(words for words in (said, *(one.end for one in (*lives, life))) if words),
        life.took_s,
    )
    return state, life
