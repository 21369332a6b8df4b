"""Two controllers on one database and one broker, of which one is paused past its lease and goes on.

The second takes over in the middle of a rollout; the first wakes up and believes for a moment that it still leads. Then
the second dies, and leaves a lease that a wrong clock dated into the year 2061.
"""

import base64
import contextlib
import json
import shutil
import signal
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litefleet_controller.cli.demo.processes import start, wait_for_line
from litefleet_controller.identity.authority import Authority
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.limits import MAX_CONTROL_BYTES
from litefleet_protocol.messages import Desired, Reported
from tests.agent.broker import Client
from tests.faults.rollout_rules import broken_rules, wrong_answers
from tests.faults.shipped import VERSIONS, Shipped, shipped, until
from tests.faults.unavailable import seconds_until, tracebacks
from tests.figures import Figure, Run

_LEASE_S, _SAMPLE_LEASE_S = 15.0, 2.0
_TAKEN_GOAL_S = 20.0
"""A lease, and the few seconds between two looks at it."""
_OUT_GOAL_S = 60.0
_TARGET = next(iter(VERSIONS))
_SECOND, _WATCHER = "controller-second", "controller-watcher"
_SHARED = ("identity", "blobs", "artifacts", "litefleet.db")


@dataclass
class First(Shipped):
    """Runs the broker, and lets the second controller and a spectator in."""

    lease_s: float = _LEASE_S

    def command(self, *arguments: str) -> list[str]:
        return _as_replica(super().command(*arguments), {"guests": [_SECOND, _WATCHER], "lease_s": self.lease_s})

    @property
    def broker_port(self) -> int:
        return int((self.data / "broker" / "port").read_text())


@dataclass
class Second(Shipped):
    """A controller with a folder of its own, in which what they share leads to the first's."""

    first: First | None = None

    def command(self, *arguments: str) -> list[str]:
        assert self.first is not None
        wish = {"broker": self.first.broker_port, "name": "second", "lease_s": self.first.lease_s}
        return _as_replica(super().command(*arguments), wish)


def _as_replica(command: list[str], wish: dict[str, Any]) -> list[str]:
    module = command.index("tests.counting_controller")
    return [*command[:module], "tests.replicated_controller", json.dumps(wish), *command[module + 1 :]]


def two_controllers(run: Run) -> Sequence[Figure]:
    """Takeovers and their times, and what went backwards."""
    names = ("b-1",) if run.sample else ("b-1", "b-2", "b-3")
    lease_s = _SAMPLE_LEASE_S if run.sample else _LEASE_S
    with (
        tempfile.TemporaryDirectory() as folder,
        shipped(Path(folder) / "first", names, kind=First, lease_s=lease_s) as first,
        _second(Path(folder) / "second", first) as second,
        _spectator(first) as seen,
    ):
        position = first.audit.position()
        first.roll_out(_TARGET)
        until(lambda: any(t.assigned for t in first.audit.since(position)), "the first command", 60)
        in_a_write = _pause(first)
        paused = time.monotonic()
        taken_s = seconds_until(lambda: _epoch(first) > 1, 60)
        _signal(first, signal.SIGCONT)
        seconds_until(lambda: second.is_out(_TARGET), 180)
        out_s = time.monotonic() - paused
        until(lambda: "not leading any more" in _log(first), "the first to give in", 30)
        wrong = [
            *broken_rules(first.audit.since(position), _TARGET, len(names)),
            *(f"{n} {w}" for n in names for w in wrong_answers(first.answers(n), None, _TARGET)),
            *_backwards(seen),
        ]
        stale = _stale(seen)
        refused = _log(first).count("epoch is over")
        late_s = _dated_2061(first, second)
        wrong += [*tracebacks(first.directory), *tracebacks(second.directory)]
        epochs = _epoch(first)
    sides = {
        "epochs": epochs,
        "pauses within a write": in_a_write,
        "stale messages that boards refused": stale,
        "stale writes that the store refused": refused,
    }
    lease = f"a lease of {lease_s:g} s; two processes on SQLite, one paused with SIGSTOP"
    return [
        Figure("two-controllers-wrong", len(wrong), "faults", 0, "==", sides, run.seed, "; ".join(wrong[:5])),
        Figure("two-controllers-taken-over", taken_s, "s", _TAKEN_GOAL_S, "<=", {}, run.seed, lease),
        Figure(
            "two-controllers-converged",
            out_s,
            "s",
            _OUT_GOAL_S,
            "<=",
            {},
            run.seed,
            "from the pause to the rollout's end",
        ),
        Figure("two-controllers-lease-of-2061", late_s, "s", _TAKEN_GOAL_S, "<=", {}, run.seed, lease),
    ]


@contextmanager
def _second(directory: Path, first: First) -> Iterator[Second]:
    second = Second(directory, names=first.names, first=first)
    second.data.mkdir(parents=True)
    for name in _SHARED:
        (second.data / name).symlink_to(first.data / name)
    # One person's token for both; a controller that finds none revokes those of before.
    shutil.copy(first.kubeconfig, second.kubeconfig)
    try:
        command = second.command("up", "--data-dir", str(second.data), "--port", "0")
        second.controller = start(command, directory / "controller-1.log")
        wait_for_line(second.controller, "litefleet is ready", 60, "the second controller")
        yield second
    finally:
        second.close()


@contextmanager
def _spectator(first: First) -> Iterator[Client]:
    """Sees all that boards are told and say."""
    authority = Authority.open(first.data / "identity")
    certificate, key = authority.client_certificate(_WATCHER, datetime.now(UTC))
    pem = first.directory / "watcher.pem"
    pem.write_text(certificate + key)
    context = ssl.create_default_context(cadata=authority.ca_pem)
    context.load_cert_chain(str(pem))
    client = Client(first.broker_port, [f"{topics.ROOT}/d/#"], context, _WATCHER)
    try:
        yield client
    finally:
        client.close()


def _dated_2061(first: First, second: Second) -> float:
    """Kill the leader, date its lease as a wrong clock would; how long until the other one leads."""
    second.kill_controller()
    before = _epoch(first)
    with contextlib.closing(sqlite3.connect(first.data / "litefleet.db", timeout=30)) as raw, raw:
        raw.execute("UPDATE leases SET holder = 'elsewhere', expires_at = '2061-01-01 00:00:00.000000'")
    return seconds_until(lambda: _epoch(first) > before, 60)


def _epoch(first: First) -> int:
    with contextlib.closing(sqlite3.connect(first.data / "litefleet.db", timeout=30)) as raw:
        return int(raw.execute("SELECT epoch FROM leases").fetchone()[0])


def _pause(first: First) -> int:
    """Pause it between two of its writes; how often it was paused within one, and let go on.

    A process that is paused within a write keeps SQLite's lock, which nobody can take from it: then all wait for it.
    """
    for tries in range(200):
        _signal(first, signal.SIGSTOP)
        if _may_write(first):
            return tries
        _signal(first, signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("it writes all the time")


def _may_write(first: First) -> bool:
    with contextlib.closing(sqlite3.connect(first.data / "litefleet.db", timeout=0.2)) as raw:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        raw.rollback()
    return True


def _signal(fleet: Shipped, number: signal.Signals) -> None:
    assert fleet.controller is not None
    fleet.controller.process.send_signal(number)


def _log(fleet: Shipped) -> str:
    assert fleet.controller is not None
    return fleet.controller.log.read_text()


def _told(seen: Client) -> dict[str, list[tuple[int, int]]]:
    """What each board was told, by epoch and counter, in order."""
    told: dict[str, list[tuple[int, int]]] = {}
    for payload in seen.received("/down/desired"):
        sealed = envelope.parse(payload, max_bytes=MAX_CONTROL_BYTES)
        message = codec.decode(Desired, base64.b64decode(sealed.payload))
        told.setdefault(message.device, []).append((message.epoch, message.counter))
    return told


def _stale(seen: Client) -> int:
    """Messages older than one that had gone out before; boards refuse them."""
    return sum(later < max(marks[:n]) for marks in _told(seen).values() for n, later in enumerate(marks) if n)


def _backwards(seen: Client) -> list[str]:
    """Boards that followed something older than they had."""
    marks: dict[str, list[tuple[int, int]]] = {}
    for payload in seen.received("/up/reported"):
        message = codec.decode(Reported, payload)
        marks.setdefault(message.device, []).append((message.epoch, message.counter))
    return [f"{name} followed {found}" for name, found in marks.items() if found != sorted(found)]
