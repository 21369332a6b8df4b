"""The broker killed with -9 while a rollout runs, again and again, with what it had saved, or with its data deleted.

The broker is a cache: everything has to converge from the controller's database and the boards' disks. "With what it
had saved" is the nastier half: it comes back with retained messages of before, desired states and presences that are
outdated. Moments are drawn from the seed; losses follow each other as they come, without a pause for recovery.
"""

import contextlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.site import SLOT, Site, seconds_until, site
from tests.figures import Figure, Run

RETURN_GOAL_S = 2.0
"""A supervisor's restart: no later loss may cost more than the first."""
ONLINE_GOAL_S = 10.0
CONVERGED_GOAL_S = 30.0
"""A rollout of two steps with a second's probation takes some 6 s undisturbed; half a minute is when people call."""
_LIMIT_S = 180.0


@dataclass
class _Seen:
    kills: int = 0
    deleted: int = 0
    returned: list[float] = field(default_factory=list)
    online: list[float] = field(default_factory=list)
    converged: list[float] = field(default_factory=list)


def broker_lost(run: Run) -> Sequence[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="litefleet-broker-lost-"))
    try:
        with site(folder) as here:
            return _measure(here, run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(here: Site, run: Run) -> Sequence[Figure]:
    rng = random.Random(run.seed)
    rollouts, kills, boards = (1, 1, 1) if run.sample else (20, 4, 4)
    here.stock([1] if run.sample else [1, 2, 3], padding_bytes=1_500_000)
    here.up()
    version = here.declare([] if run.sample else [{"setWeight": 50}])
    for n in range(boards):
        here.board(f"board-{n}")
    if not run.sample:  # whose only rollout is the first
        here.wait("the first version everywhere", lambda: here.converged(version))
    seen = _Seen()
    for number in range(rollouts):
        spacing_s = 0.5 if run.sample else (2.0, 8.0, 0.3, 20.0)[number % 4]
        _one_rollout(here, rng, seen, kills, spacing_s, first=run.sample)
    audit = here.audit()
    note = (
        f"{boards} boards, {rollouts} rollouts, {seen.kills} kills ({seen.deleted} with the data deleted), "
        f"{audit.answers} answers"
    )

    def figure(name: str, value: float, unit: str, goal: float, comparison: str = "==", **sides: float) -> Figure:
        return Figure(name, value, unit, goal, comparison, sides, run.seed, note)  # type: ignore[arg-type]

    return [
        figure("broker lost: inferences lost", audit.lost, "inferences", 0),
        figure("broker lost: answers of a wrong version", audit.wrong, "answers", 0),
        figure("broker lost: answers that telemetry missed or counted twice", audit.miscounted, "answers", 0),
        figure("broker lost: kills", seen.kills, "kills", 1 if run.sample else 60, ">="),
        figure("broker lost: until it runs again", max(seen.returned), "s", RETURN_GOAL_S, "<=", first=seen.returned[0]),
        figure("broker lost: until all boards are online again", max(seen.online), "s", ONLINE_GOAL_S, "<="),
        figure(
            "broker lost: from its last return to a finished rollout", max(seen.converged), "s", CONVERGED_GOAL_S, "<=",
            mean=sum(seen.converged) / len(seen.converged),
        ),
    ]  # fmt: skip


def _one_rollout(
    here: Site, rng: random.Random, seen: _Seen, kills: int, spacing_s: float, *, first: bool = False
) -> None:
    """Release a version, and kill the broker so often while it is on its way."""
    version = f"{SLOT}-v1"
    if not first:
        _save(here)  # what it knows before this rollout is what it may come back with
        version = here.release()
    for _ in range(kills):
        _wait(rng.uniform(0, spacing_s))
        before = here.connections()
        seen.returned.append(_kill(here, delete=rng.random() < 0.5, seen=seen))
    back = time.monotonic()

    def reconnected() -> bool:
        return all(c and c != before[board] for board, c in here.connections().items())

    seen.online.append(seconds_until(reconnected, _LIMIT_S, "all boards to be online again"))
    here.wait(f"{version} everywhere", lambda: here.converged(version), _LIMIT_S)
    seen.converged.append(time.monotonic() - back)


def _wait(seconds: float) -> None:
    """The moments are what is drawn: there is no condition to wait for."""
    time.sleep(seconds)


def _save(here: Site) -> None:
    """Have mosquitto write its database now, as it does every few minutes (SIGUSR1)."""
    broker = here.broker()
    database = here.data / "broker" / "mosquitto.db"
    before = database.stat().st_mtime_ns if database.exists() else 0
    if broker is None:
        return
    broker.send_signal(signal.SIGUSR1)
    seconds_until(lambda: database.exists() and database.stat().st_mtime_ns > before, 20, "the broker to save")


def _kill(here: Site, *, delete: bool, seen: _Seen) -> float:
    """Kill it, and perhaps delete what it saved; seconds until it listens again."""
    broker = None
    seconds_until(lambda: here.broker() is not None, _LIMIT_S, "a broker to kill")
    while broker is None:
        broker = here.broker()
    with contextlib.suppress(psutil.NoSuchProcess):
        broker.kill()
    began = time.monotonic()
    seen.kills += 1
    if delete:
        seen.deleted += 1
        (here.data / "broker" / "mosquitto.db").unlink(missing_ok=True)

    def again() -> bool:
        new = here.broker()
        return new is not None and new.pid != broker.pid and here.broker_answers()

    seconds_until(again, _LIMIT_S, "the broker to come back")
    return time.monotonic() - began
