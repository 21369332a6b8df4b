"""Boards that are cut from their broker in the middle of a fetch and of a probation, for seconds and for longer than the
keepalive: no FIN, no RST, half-open connections on both sides.

The boards are in a network namespace (wire.py); controller and broker are outside. While cut they go on serving, and the
controller gets to know in time. In some cases the agent is started anew meanwhile: its new connection then meets its old
one, whose will comes late. It is stopped in order for that (its good-bye goes nowhere), since what a kill costs a window
of telemetry is not this fault's matter.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from litefleet_agent.link import Address
from litefleet_controller.cli.demo.processes import stop
from litefleet_protocol.limits import CHUNK_BYTES
from tests.faults.site import SLOT, Site, percentile, seconds_until, site
from tests.faults.wire import Wire, why_not, wire
from tests.figures import Figure, Run, UnavailableError

KEEPALIVE_S = Address("", 0, "").keepalive_s
OFFLINE_GOAL_S = 32.0
"""Half a minute, and two seconds to be told."""
SHORT_GOAL_S = 30.0
"""After a cut of seconds: the time of an undisturbed rollout, twice."""
LONG_GOAL_S = 60.0
"""After a cut beyond the keepalive: no longer than it takes somebody to walk to the switch and back."""
_LIMIT_S = 240.0
_PADDING = 12_000_000
_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """When it is cut, and for how long."""

    moment: str
    """fetch or probation."""
    seconds: float
    restarted: bool = False
    loss: float = 0.0
    """Percent of packets lost towards the boards, instead of a cut."""


CASES = (
    Case("fetch", 3.0),
    Case("fetch", 44.0),
    Case("probation", 3.0),
    Case("probation", 44.0),
    Case("fetch", 5.0, restarted=True),
    Case("probation", 5.0, restarted=True),
    Case("fetch", 0.0, loss=5.0),
)


@dataclass
class _Seen:
    cuts: int = 0
    offline: list[float] = field(default_factory=list)
    short: list[float] = field(default_factory=list)
    long: list[float] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    overwritten: int = 0
    lossy: str = "5% loss"


def partition(run: Run) -> Sequence[Figure]:
    reason = why_not()
    if reason:
        raise UnavailableError(reason)
    folder = Path(tempfile.mkdtemp(prefix="litefleet-partition-"))
    try:
        with wire() as line, site(folder, host=line.host, prefix=line.prefix) as here:
            return _measure(here, line, run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(here: Site, line: Wire, run: Run) -> Sequence[Figure]:
    rng, seen = random.Random(run.seed), _Seen()
    here.stock([1] if run.sample else [1, 2, 3], padding_bytes=_PADDING)
    here.up()
    version = here.declare([], probation_s=3.0)
    here.board("board-0")  # one: what passes on the wire is then its own
    if run.sample:
        _cut(here, line, Case("fetch", 2.0), rng, seen, undisturbed=0)
    else:
        before = line.sent_bytes
        here.wait("the first version", lambda: here.converged(version), _LIMIT_S)
        undisturbed = line.sent_bytes - before
        for case in CASES * _ROUNDS:
            _cut(here, line, case, rng, seen, undisturbed)
    audit = here.audit()
    note = f"{seen.cuts} cuts, keepalive {KEEPALIVE_S} s, {seen.lossy}, {audit.answers} answers"

    def figure(name: str, value: float, unit: str, goal: float, comparison: str = "==", **sides: float) -> Figure:
        return Figure(name, value, unit, goal, comparison, sides, run.seed, note)  # type: ignore[arg-type]

    figures = [
        figure("partition: inferences lost", audit.lost, "inferences", 0),
        figure("partition: answers of a wrong version", audit.wrong, "answers", 0),
        figure("partition: answers that telemetry missed or counted twice", audit.miscounted, "answers", 0),
        figure("partition: connections overwritten by a late will", seen.overwritten, "boards", 0),
        figure("partition: cuts", seen.cuts, "cuts", 1 if run.sample else 18, ">="),
        figure(
            "partition: from the link's return to a finished rollout, short", max(seen.short), "s", SHORT_GOAL_S, "<="
        ),
    ]
    if not run.sample:
        figures += [
            figure("partition: from the cut until shown offline", max(seen.offline), "s", OFFLINE_GOAL_S, "<="),
            figure(
                "partition: from the link's return to a finished rollout, long", max(seen.long), "s", LONG_GOAL_S, "<=",
                median=percentile(seen.long, 0.5),
            ),
            figure("partition: chunks received twice after a cut", max(seen.twice), "chunks", 1, "<="),
        ]  # fmt: skip
    return figures


def _cut(here: Site, line: Wire, case: Case, rng: random.Random, seen: _Seen, undisturbed: int) -> None:
    first = here.status("modelrollouts", SLOT).get("phase") != "Healthy"
    before = line.sent_bytes
    version = f"{SLOT}-v1" if first else here.release()
    _await_moment(here, line, case, rng, before)
    connection = here.connections()["board-0"]
    if case.loss:
        if not line.lossy(case.loss):
            seen.lossy = "no loss: this kernel has no netem"
    else:
        seen.cuts += 1
        line.cut()
    began = time.monotonic()
    if case.restarted:
        stop([here.boards["board-0"]])
    if case.seconds > KEEPALIVE_S * 1.5:
        seen.offline.append(seconds_until(lambda: not here.connections()["board-0"], _LIMIT_S, "board-0 to be offline"))
    seconds_until(lambda: time.monotonic() - began >= case.seconds, _LIMIT_S, "the cut to be long enough")
    line.join()
    back = time.monotonic()
    if case.restarted:
        here.run_agent("board-0")
        seconds_until(lambda: here.connections()["board-0"] not in ("", connection), _LIMIT_S, "the new connection")
    here.wait(f"{version} ({case})", lambda: here.converged(version), _LIMIT_S)
    line.sound()
    (seen.long if case.seconds > KEEPALIVE_S else seen.short).append(time.monotonic() - back)
    seen.overwritten += not here.connections()["board-0"]
    if case.moment == "fetch" and not (first or case.restarted or case.loss):
        # In whole chunks: what is left is the new connection's handshake, and headers.
        seen.twice.append(max(0, line.sent_bytes - before - undisturbed) // CHUNK_BYTES)


def _await_moment(here: Site, line: Wire, case: Case, rng: random.Random, before: int) -> None:
    """In the middle of a fetch by what passed on the wire, in that of a probation by the board's phase."""
    reached: Callable[[], bool]
    if case.moment == "fetch":
        share = rng.uniform(0.1, 0.8)
        end = time.monotonic() + _LIMIT_S
        while line.sent_bytes - before < share * _PADDING:  # at full speed: all of it takes a second or two
            assert time.monotonic() < end, "the fetch never began"
        return
    reached = lambda: here.slot("board-0").get("phase") == "Verifying"  # noqa: E731
    seconds_until(reached, _LIMIT_S, "the probation")
