"""Models that crash, hang, grow, answer NaN, change their shape or are slow: ones that the check finds, and ones whose
golden samples were made to pass, so that only live inputs show it.

Each goes to a board of its own, in a process of its own, that serves a good model to two threads all the while.
"""

import itertools
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from litefleet_agent.config import Config, LimitsConfig
from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.litert import LiteRT
from litefleet_protocol.messages import Gates, SlotReported
from litefleet_protocol.tensors import Postprocess, Signature
from tests.agent.artifacts import DATA, FLOAT_SIGNATURE, LABELLED, WIDE_SIGNATURE, Made, golden_for, make, npz, sha
from tests.faults.board import Board, Load, Served
from tests.faults.ill import crashes, grows, loops
from tests.figures import Figure, Run

_LIMITS = LimitsConfig(check_seconds=6.0, check_memory_bytes=1024**3)
_PROBATION_S = 5.0
_MOST_DEATHS = 6
"""Starts after which a board that dies again and again is given up."""
_RAW = Postprocess(kind="none")
_UNIT = np.eye(4, dtype=np.float32)
_GIVES_NOUGHT = npz(x0=np.ones((2, 4), np.float32), y0=np.zeros((2, 4), np.float32))


@dataclass(frozen=True)
class Bad:
    """One bad model: how it is made, how it lies, and the code that it must get."""

    name: str
    code: str
    write: Callable[[Path], object]
    golden_x: np.ndarray | None = None
    """Inputs that it answers well, which become its golden samples; None when it is to fail in the check."""
    live: np.ndarray = field(default_factory=lambda: _UNIT)
    signature: Signature = WIDE_SIGNATURE
    max_latency_ms: float | None = None
    memory_mb: float | None = None
    """Gate of memory, over what the board needs before."""


def _file(name: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes((DATA / name).read_bytes())


def _all(value: float) -> np.ndarray:
    return np.full((3, 4), value, np.float32)


CASES = (
    Bad("crash in the check", "ModelCrashed", _file("crash-4.tflite"), signature=FLOAT_SIGNATURE),
    Bad("hang in the check", "Timeout", _file("hang-4.tflite")),
    Bad("memory in the check", "MemoryLimit", _file("huge-4.tflite")),
    Bad("NaN in the check", "BadOutput", _file("nan.tflite"), signature=FLOAT_SIGNATURE),
    Bad("changed shape", "BadShape", _file("wide-5-classes.tflite"), signature=FLOAT_SIGNATURE),
    Bad("changed dtype", "SignatureChanged", _file("int8.tflite"), signature=FLOAT_SIGNATURE),
    Bad("NaN on live input", "BadOutput", _file("log-4.tflite"), _all(2.0), -_UNIT),
    Bad("hang on live input", "Timeout", loops(1.0), _all(2e9)),
    Bad("slow on live input", "TooSlow", loops(1.0003), _all(2e9), max_latency_ms=5.0),
    Bad("memory on live input", "MemoryLimit", grows, _all(2.0), _all(6e6), memory_mb=64),
    Bad("crash on live input", "ModelCrashed", crashes, _all(2.0), _all(-3e9)),
)
_SAMPLE = ("crash on live input", "hang on live input")


@dataclass(frozen=True)
class Outcome:
    """What became of one bad model. Times in seconds."""

    code: str
    back_s: float
    """From its first answer or failure to the good model's next answer; 0 when it never served. After a death: from the
    next process's start to its first answer."""
    gap_s: float
    """The longest time without an answer to anybody, while the process lived."""
    wrong: int
    answers: int
    deaths: int = 0


def bad_models(run: Run) -> Sequence[Figure]:
    """Codes, deaths of the agent, and how long until the good model serves again."""
    found: dict[str, Outcome] = {}
    for case, bad in enumerate(CASES):
        if not run.sample or bad.name in _SAMPLE:
            with tempfile.TemporaryDirectory() as folder:
                found[bad.name] = _outcome(case, Path(folder))
    expected = {bad.name: bad.code for bad in CASES}
    other = [name for name, o in found.items() if o.code != expected[name]]
    said = "; ".join(f"{name}: {o.code}" for name, o in found.items())
    deaths = {name: o.deaths for name, o in found.items() if o.deaths}
    backs = {name: o.back_s for name, o in found.items() if o.back_s}
    gaps = {name: o.gap_s for name, o in found.items()}
    limits = "after a death from the next start to its first answer"
    served = {"answers": sum(o.answers for o in found.values())}
    return [
        Figure("bad-model-other-codes", len(other), "models", 0, "==", {"models": len(found)}, note=said),
        Figure("bad-model-agent-deaths", sum(deaths.values()), "deaths", 0, "==", deaths),
        Figure("bad-model-wrong-serves", sum(o.wrong for o in found.values()), "answers", 0, "==", served),
        Figure(
            "bad-model-fall-back", max(backs.values(), default=float("inf")), "s, longest", 2.0, "<", backs, note=limits
        ),
        Figure("bad-model-gap", max(gaps.values()), "s, longest", 2.0, "<", gaps, note=limits),
    ]


# --- one board, in processes of their own ---


def _outcome(case: int, folder: Path) -> Outcome:
    context = multiprocessing.get_context("spawn")
    for deaths in range(_MOST_DEATHS):
        ours, theirs = context.Pipe()
        process = context.Process(target=_board, args=(theirs, folder, case, deaths, time.monotonic()))
        process.start()
        theirs.close()
        try:
            outcome: Outcome = ours.recv()
        except EOFError:
            process.join()
            assert (process.exitcode or 0) < 0, (folder / "stderr").read_text()
            continue
        process.join()
        return replace(outcome, deaths=deaths)
    return Outcome("died again and again", float("inf"), 0.0, 0, 0, _MOST_DEATHS)


def _board(pipe: Connection, folder: Path, case: int, deaths: int, began: float) -> None:
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT), 2)
    board = Board(folder / "state", Config(limits=_LIMITS))
    bad = CASES[case]
    load = Load(board, bad.live, 50.0, threads=2)
    good = _good(board)
    if not deaths:
        board.assign(good, probation_seconds=0.2)
        assert board.wait(lambda slot: slot.phase == "Updated", 30)
    first_s = next(s.at for s in _until_good(load) if s.version == "good") - began
    made = _signed(board, bad, folder / "bad.tflite")
    if not deaths:
        most = None if bad.memory_mb is None else rss_bytes() + int(bad.memory_mb * 2**20)
        gates = Gates(max_latency_ms=bad.max_latency_ms, max_memory_bytes=most)
        board.assign(made, probation_seconds=_PROBATION_S, gates=gates)
    refused = board.wait(lambda slot: _is_refused(slot, made, good), 60)
    served = load.take() + _until_good(load)
    outcome = _judged(refused, served, bad)
    pipe.send(replace(outcome, back_s=first_s) if deaths else outcome)
    os._exit(0)  # a thread may hang in the model for ever


def _good(board: Board) -> Made:
    path = DATA / "a.tflite"
    return make(board.key, path.read_bytes(), golden_for(path), version="good", postprocess=LABELLED)


def _signed(board: Board, bad: Bad, path: Path) -> Made:
    bad.write(path)
    golden = golden_for(path, x=bad.golden_x) if bad.golden_x is not None else _GIVES_NOUGHT
    if bad.golden_x is None and bad.signature is FLOAT_SIGNATURE:
        golden = golden_for(DATA / "a.tflite")
    rules = LABELLED if bad.signature is FLOAT_SIGNATURE else _RAW
    return make(board.key, path.read_bytes(), golden, version="bad", signature=bad.signature, postprocess=rules)


def _is_refused(slot: SlotReported, made: Made, good: Made) -> bool:
    return (
        slot.desired == made.digest and bool(slot.code) and slot.current == good.digest and slot.phase != "RollingBack"
    )


def _until_good(load: Load) -> list[Served]:
    served: list[Served] = []
    for _ in range(400):
        time.sleep(0.02)
        served += load.take()
        if len(served) > 3 and all(s.version == "good" for s in served[-3:]):
            return served
    raise AssertionError("the good model does not answer any more")


def _judged(refused: SlotReported | None, served: Sequence[Served], bad: Bad) -> Outcome:
    path = DATA / "a.tflite"
    model = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
    right = [model.infer([x.reshape(1, 4)])[0] for x in bad.live]
    good = [s for s in served if s.version == "good"]
    answers = [s.at for s in served if s.outputs is not None]
    gap = max((b - a for a, b in itertools.pairwise(answers)), default=0.0)
    # One that hangs on live input answers nothing itself: the gap is how long its input waited for the good model.
    hung = bad.code == "Timeout" and bad.golden_x is not None
    return Outcome(
        refused.code if refused else "no refusal",
        gap if hung else _back_s(served),
        gap,
        sum(not np.allclose(s.outputs, right[s.number], atol=1e-5) for s in good),
        len(answers),
    )


def _back_s(served: Sequence[Served]) -> float:
    others = [n for n, s in enumerate(served) if s.version != "good"]
    if not others:
        return 0.0
    return next(s.at for s in served[others[-1] :] if s.version == "good") - served[others[0]].at
