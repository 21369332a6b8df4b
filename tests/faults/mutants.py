"""Malformed models, thousands of them, signed like good ones and sent through a board's whole path.

A board runs in a process of its own (`_board`), so that a model that kills it is counted and the next ones go on.
"""

import collections
import contextlib
import itertools
import logging
import math
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from litefleet_agent.config import Config, LimitsConfig
from litefleet_protocol.messages import SlotReported
from tests.agent.artifacts import Made
from tests.faults.board import Board, Load, Served
from tests.faults.models import GOOD, Good
from tests.faults.mutating import mutant
from tests.faults.oracle import Oracle
from tests.figures import Figure, Run

_COUNT, _SAMPLE = 2000, 4
_SHARES = (0.5, 0.25, 0.25)
"""Of the models in GOOD."""
_LIMITS = LimitsConfig(check_seconds=10.0, check_memory_bytes=1024**3)
_PROBATION_S = 0.4
_RATE_HZ = 100.0
_PATIENCE_S = 90.0
_SAME = 1e-5
_TOLERANCE = 1e-3
"""The golden samples' own: past it a mutant's live answers are not the good model's."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    number: int
    what: str
    code: str = ""
    """Why it was refused; empty when it was not."""
    verdict_s: float = 0.0
    """From desired state to the refusal, or to the end of its probation."""
    rollback_s: float | None = None
    """When the board fell back by itself, the longest time between two answers meanwhile; when the mutant was let through
    and the board had to be told, from the new desired state to the good model's next answer. None: it was never tried."""
    answers: int = 0
    wrong: int = 0
    served: int = 0
    """Answers by the mutant."""
    differs: bool = False
    """It was let through, and answers live inputs otherwise than the good model."""
    died: bool = False


def mutants(run: Run) -> Sequence[Figure]:
    """Two boards at a time, each serving a good model under load all the while; every answer is computed again."""
    count = _SAMPLE if run.sample else _COUNT
    shares = [[n for n in range(count) if _share(n, count) == share] for share in range(len(GOOD))]
    halves = [(share, numbers[half::2]) for half in range(2) for share, numbers in enumerate(shares)]
    queue = iter(sorted(halves, key=lambda work: -len(work[1])))
    found: list[Outcome] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                share, numbers = next(queue, (0, None))
            if numbers is None:
                return
            found.extend(_through_boards(share, numbers, run.seed))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(o.number for o in found) == list(range(count))
    return _figures(found, run)


def _share(number: int, count: int) -> int:
    ends = itertools.accumulate(_SHARES)
    return next(n for n, end in enumerate(ends) if number < end * count)


def _figures(found: Sequence[Outcome], run: Run) -> Sequence[Figure]:
    codes = collections.Counter(o.code or "let through" for o in found)
    said = ", ".join(f"{code} {n}" for code, n in codes.most_common())
    passed = [o for o in found if not o.code and not o.died]
    back = [o.rollback_s for o in found if o.rollback_s is not None]
    verdicts = [o.verdict_s for o in found if o.code]
    deaths = [o for o in found if o.died]
    through = {
        "mutants": len(found),
        "let through": len(passed),
        "of them other answers": sum(o.differs for o in passed),
    }
    answers = {"answers": sum(o.answers for o in found), "by mutants": sum(o.served for o in found)}
    alone = sum(o.rollback_s is not None and bool(o.code) for o in found)
    times = {"rollbacks": len(back), "by the board itself": alone, "p50 s": _at(back, 50), "verdict p50 s": _at(verdicts, 50), "verdict p99 s": _at(verdicts, 99)}  # fmt: skip
    died = "; died of: " + ", ".join(f"{o.number} ({o.what})" for o in deaths) if deaths else ""
    limits = f"check limit {_LIMITS.check_seconds:g} s; verdicts from desired state, serving goes on meanwhile"
    return [
        Figure("mutant-agent-deaths", len(deaths), "deaths", 0, "==", through, run.seed, said + died),
        Figure("mutant-wrong-serves", sum(o.wrong for o in found), "answers", 0, "==", answers, run.seed),
        Figure("mutant-rollback-p99", _at(back, 99), "s", 2.0, "<", times, run.seed, limits),
    ]


def _at(values: Sequence[float], percent: int) -> float:
    return float(np.percentile(values, percent)) if values else math.inf


# --- boards, one process after the other ---


def _through_boards(share: int, numbers: Iterable[int], seed: int) -> Iterator[Outcome]:
    left = collections.deque(numbers)
    while left:
        with _process(share, seed) as (process, pipe):
            while left:
                number = left.popleft()
                try:
                    pipe.send(number)
                    outcome = pipe.recv()
                except (EOFError, OSError):
                    process.join(10)
                    outcome = Outcome(number, f"{_mutant(share, number, seed)}, exit {process.exitcode}", died=True)
                yield outcome
                if outcome.died:
                    break


@contextlib.contextmanager
def _process(share: int, seed: int) -> Iterator[tuple[BaseProcess, Connection]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_board, args=(theirs, Path(folder), share, seed))
        process.start()
        theirs.close()
        try:
            yield process, ours
        finally:
            ours.close()
            process.join(10)
            process.kill()
            process.join()


def _mutant(share: int, number: int, seed: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return mutant(GOOD[share](Path(folder), seed).model, random.Random(f"{seed}/{number}"))[0]


# --- inside a board's process ---


def _board(pipe: Connection, folder: Path, share: int, seed: int) -> None:
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT), 2)
    good = GOOD[share](folder, seed)
    lane = _Lane(folder, good)
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            break
        pipe.send(lane.outcome(number, *mutant(good.model, random.Random(f"{seed}/{number}"))))
    os._exit(0)  # threads that hang in a model end in no other way


class _Lane:
    """A board that serves a good model, and takes one mutant after the other."""

    def __init__(self, folder: Path, good: Good) -> None:
        self._good = good
        self._path = folder / "mutant.tflite"
        self._oracle = Oracle(good.live)
        self._path.write_bytes(good.model)
        self._expected = {"good": self._oracle.outputs(self._path)}
        self._board = Board(folder / "state", Config(limits=_LIMITS))
        self._made = good.signed(self._board.key, "good")
        self._load = Load(self._board, good.live, _RATE_HZ)
        self._serve_good()
        self._load.take()

    def _serve_good(self) -> None:
        self._board.assign(self._made, probation_seconds=_PROBATION_S)
        settled = self._board.wait(lambda slot: slot.phase == "Updated", _PATIENCE_S)
        assert settled is not None, "the good model does not come to serve"

    def outcome(self, number: int, what: str, model: bytes) -> Outcome:
        made = self._good.signed(self._board.key, f"m{number}", model)
        self._path.write_bytes(model)
        began = self._board.assign(made, probation_seconds=_PROBATION_S)
        verdict = self._board.wait(lambda slot: self._is_over(slot, made), _PATIENCE_S)
        assert verdict is not None, f"no verdict on mutant {number}: {self._board.link.report}"
        took = time.monotonic() - began
        was_tried = self._board.has_tried()
        told = time.monotonic()
        if verdict.current == made.digest or verdict.phase not in ("Failed", "Updated"):
            self._serve_good()  # let through, or to be tried again later
        served = self._load.take()
        served += self._next_good()
        judged = self._judged(number, what, verdict, took, served)
        if not verdict.code:
            back = next(s.at for s in served if s.at > told and s.version == "good") - told
            return replace(judged, rollback_s=back)
        return replace(judged, rollback_s=_longest_gap_s(served) if was_tried else None)

    def _is_over(self, slot: SlotReported, made: Made) -> bool:
        refused = slot.code and slot.current == self._made.digest and slot.phase != "RollingBack"
        return bool(slot.desired == made.digest and (refused or slot.phase == "Updated"))

    def _next_good(self) -> list[Served]:
        """Until the load has an answer from the good model; a thread that hangs is replaced."""
        more: list[Served] = []
        tries = 0
        while not any(s.version == "good" for s in more):
            tries += 1
            if tries == 20:
                self._load.more()
            assert tries < 400, "no answers any more"
            threading.Event().wait(0.05)
            more += self._load.take()
        return more

    def _judged(self, number: int, what: str, verdict: SlotReported, took: float, served: list[Served]) -> Outcome:
        mine = f"m{number}"
        let_through = not verdict.code
        if let_through or any(s.version == mine for s in served):
            self._expected[mine] = self._oracle.outputs(self._path)
        wrong = [s for s in served if s.outputs is not None and not self._is_right(s)]
        bare = self._expected.pop(mine, None)
        return Outcome(
            number,
            what,
            verdict.code,
            took,
            None,
            sum(s.outputs is not None for s in served),
            len(wrong),
            sum(s.version == mine for s in served),
            differs=let_through and (bare is None or not _alike(bare, self._expected["good"], _TOLERANCE)),
        )

    def _is_right(self, served: Served) -> bool:
        outputs = self._expected.get(served.version)
        return outputs is not None and _alike([served.outputs], [outputs[served.number]], _SAME)


def _alike(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> bool:
    return all(
        f.shape == e.shape and np.allclose(f, e, rtol=0, atol=tolerance) for f, e in zip(found, expected, strict=True)
    )


def _longest_gap_s(served: Sequence[Served]) -> float:
    answers = [s.at for s in served if s.outputs is not None]
    return max((b - a for a, b in itertools.pairwise(answers)), default=math.inf)
