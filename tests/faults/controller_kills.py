"""kill -9 of the controller at every commit of a rollout: just before it, and just after it.

The commits are found by counting: the controller dies at the first, the second, and so on, until a rollout is done
before its turn comes. It is started again each time, and nothing else is repaired. The broker dies with it.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from litefleet_controller.cli.errors import CliError
from tests.counting_controller import When
from tests.faults.rollout_rules import broken_rules, ending, wrong_answers
from tests.faults.shipped import ROLLOUT, VERSIONS, Json, Shipped, shipped, until
from tests.figures import Figure, Run

log = logging.getLogger(__name__)

_BOARDS = ("b-1", "b-2", "b-3")
_SAMPLE_BOARDS = ("b-1",)
_SAMPLE_AT = 4
_GOAL_S = 30.0
"""A line that is retooled waits for its controller no longer than for a person to walk to it."""


@dataclass(frozen=True)
class Outcome:
    """What one kill came to."""

    at: int
    when: When
    wrong: tuple[str, ...]
    converged_s: float
    """From the kill to the rollout's end on all boards, a start of the controller included."""


def controller_kills(run: Run) -> Sequence[Figure]:
    """How many kills, what was wrong after them, and how long until the rollout was done."""
    with (
        tempfile.TemporaryDirectory() as folder,
        shipped(Path(folder), _SAMPLE_BOARDS if run.sample else _BOARDS) as fleet,
    ):
        if run.sample:
            found, undisturbed_s = [o for o in [_killed(fleet, _SAMPLE_AT, "after", None, None)] if o is not None], 0.0
        else:
            found, undisturbed_s = _all(fleet)
    wrong = [f"{o.when} commit {o.at}: {w}" for o in found for w in o.wrong]
    times = sorted(o.converged_s for o in found)
    slowest = max(found, key=lambda o: o.converged_s)
    kills = {"kills": len(found), "commits": max(o.at for o in found)}
    sides = {"p50": times[len(times) // 2], "undisturbed rollout": undisturbed_s, "at commit": slowest.at}
    steps = "from kill -9 to the rollout's end on every board, with the start of another controller and the rest of the steps"
    return [
        Figure("controller-kill-wrong", len(wrong), "faults", 0, "==", kills, note="; ".join(wrong[:5])),
        Figure("controller-kill-converged", times[-1], "s, longest", _GOAL_S, "<=", sides, note=steps),
    ]


def _all(fleet: Shipped) -> tuple[list[Outcome], float]:
    target = next(iter(VERSIONS))
    fleet.roll_out(target)
    fleet.until_out(target)
    began = time.monotonic()
    target = _other(target)
    fleet.roll_out(target)
    fleet.until_out(target)
    undisturbed_s = time.monotonic() - began
    undisturbed = ending(fleet.status("modelrollouts", ROLLOUT), target)
    found: list[Outcome] = []
    for at, when in _states():
        outcome = _killed(fleet, at, when, target, undisturbed)
        if outcome is None:
            break
        log.info("%s", outcome)
        found.append(outcome)
        target = _other(target)
    return found, undisturbed_s


def _states() -> Iterator[tuple[int, When]]:
    at = 0
    while True:
        at += 1
        yield at, "before"
        yield at, "after"


def _other(version: str) -> str:
    return next(v for v in VERSIONS if v != version)


def _killed(fleet: Shipped, at: int, when: When, before: str | None, undisturbed: Json | None) -> Outcome | None:
    """One rollout whose controller dies at commit `at`; None when it was done before."""
    target = _other(before) if before else next(iter(VERSIONS))
    position = fleet.audit.position()
    answered = {name: len(fleet.answers(name)) for name in fleet.names}
    fleet.plan.write(at, when)
    acknowledged = _asked(fleet, target)
    until(lambda: _is_dead(fleet) or fleet.is_out(target), "the kill", 120)
    died = time.monotonic()
    fleet.plan.clear()
    if not _is_dead(fleet):
        return None
    fleet.up()
    if not acknowledged:
        _asked(fleet, target)  # as whoever got no answer would
    fleet.until_out(target)
    took = time.monotonic() - died
    wrong = broken_rules(fleet.audit.since(position), target, len(fleet.names))
    for name in fleet.names:
        until(lambda n=name: _serves(fleet, n, target), f"{target}'s answers on {name}", 10)
        rows = fleet.answers(name)[max(0, answered[name] - 1) :]
        wrong += [f"{name} {w}" for w in wrong_answers(rows, before, target)]
    ended = ending(fleet.status("modelrollouts", ROLLOUT), target)
    if undisturbed is not None and ended != undisturbed:
        wrong.append(f"ended as {ended}")
    return Outcome(at, when, tuple(wrong), took)


def _asked(fleet: Shipped, target: str) -> bool:
    """Whether the controller acknowledged the wish."""
    try:
        fleet.roll_out(target)
    except (CliError, httpx.HTTPError):
        return False
    return True


def _serves(fleet: Shipped, name: str, version: str) -> bool:
    rows = fleet.answers(name)
    return bool(rows) and rows[-1].get("version") == version


def _is_dead(fleet: Shipped) -> bool:
    return fleet.controller is None or fleet.controller.process.poll() is not None
