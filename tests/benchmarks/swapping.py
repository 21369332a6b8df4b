"""Swaps under load: a real agent that infers all the time is told fifty times to run the other model."""

import itertools
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from tests.agent.broker import until
from tests.agent.world import World
from tests.benchmarks.boards import SCALE, Model, configure, images, lines, mobilenet, status_kb
from tests.faults.oracle import run_bare
from tests.figures import Figure, Run

_RATE_HZ = 40.0
_SWAPS, _SIZE, _ALONE_S = 50, 224, 30.0
_SAMPLE = (1, 96, 1.0)
_PROBATION_S = 1.0
_SAME = 1e-5


def swapping(run: Run) -> Sequence[Figure]:
    """Two MobileNetV2 of other weights, in turns: fetched, verified, checked in a child, built, flipped, on probation.

    Without: the same agent and load with one model, before. Each answer is computed again by bare LiteRT.
    """
    swaps, size, alone_s = _SAMPLE if run.sample else (_SWAPS, _SIZE, _ALONE_S)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            return _measure(world, run, swaps, size, alone_s)
        finally:
            world.close()


def _measure(world: World, run: Run, swaps: int, size: int, alone_s: float) -> Sequence[Figure]:
    inputs = images(run.seed, 4, size)
    configure(world, inputs, _RATE_HZ)
    models = [mobilenet(world, f"digits-v{n}", n, size) for n in (1, 2)]
    for model in models:
        world.controller.publish(model.made)
    world.controller.assign(models[0].made, probation_seconds=_PROBATION_S)
    world.start()
    world.controller.wait_for("Updated", models[0].version)
    alone = _wait_answers(world, alone_s)
    one_kb = status_kb(world.process.pid, "VmHWM")
    before = len(lines(world))
    with _Family(world.process.pid) as family:
        for n in range(swaps):
            model = models[(n + 1) % 2]
            world.controller.assign(model.made, probation_seconds=_PROBATION_S)
            world.controller.wait_for("Updated", model.version, 60)
    peak_kb = status_kb(world.process.pid, "VmHWM")
    found = lines(world)
    during = found[before:]
    flips = sum(a["version"] != b["version"] for a, b in itertools.pairwise(during))
    assert flips == swaps, f"{flips} flips for {swaps} swaps"
    calm = {"p50": _ms(alone, 50), "p99": _ms(alone, 99)}
    note = f"{swaps} swaps of MobileNetV2 at {size}, float32, {_RATE_HZ:g} inputs a second, while a child checks each on the other core"
    sides = {"during p99 ms": _ms(during, 99), "without p99 ms": calm["p99"], "during p50 ms": _ms(during, 50), "without p50 ms": calm["p50"]}  # fmt: skip
    memory = {"peak MiB": peak_kb / 1024, "one model MiB": one_kb / 1024, "peak with children MiB": family.peak_mb}
    asked = {"answers": len(found), "swaps": swaps}
    expected = _expected(models, inputs)
    return [
        Figure("swap-lost", _lost(found), "inputs", 0, "==", asked, run.seed, note),
        Figure("swap-mixed", _mixed(found, expected, models), "answers", 0, "==", asked, run.seed, "each computed again"),
        Figure("swap-p99", _ms(during, 99) / calm["p99"], "of without", 1.2, "<=", sides, run.seed, note),
        Figure("swap-longest-gap", _longest_gap_ms(during), "ms", 1000 / _RATE_HZ * 2, "<", {"without": _longest_gap_ms(alone)}, run.seed, "between two answers; an input is due every 25 ms"),
        Figure("swap-peak-rss", peak_kb / one_kb, "of one model's", 1.25, "<=", memory, run.seed, "the agent's process alone (VmHWM); the check's child beside it lives for a second"),
    ]  # fmt: skip


def _wait_answers(world: World, seconds: float) -> list[dict]:
    before = len(lines(world))
    until(lambda: len(lines(world)) >= before + seconds * _RATE_HZ * 0.9, "answers of one model", seconds * 3)
    return lines(world)[before:]


def _ms(found: Sequence[dict], percent: int) -> float:
    return float(np.percentile([line["latencyMs"] for line in found if "error" not in line], percent))


def _longest_gap_ms(found: Sequence[dict]) -> float:
    times = [line["t"] for line in found if "error" not in line]
    return max(b - a for a, b in itertools.pairwise(times)) * 1000


def _lost(found: Sequence[dict]) -> int:
    """Inputs with an error for an answer, and numbers that are missing."""
    return sum("error" in line for line in found) + found[-1]["seq"] + 1 - len(found)


def _expected(models: Sequence[Model], inputs: np.ndarray) -> dict[str, list[np.ndarray]]:
    live = inputs.astype(np.float32) * np.float32(SCALE)
    return {model.version: run_bare(model.path, live) for model in models}


def _mixed(found: Sequence[dict], expected: dict[str, list[np.ndarray]], models: Sequence[Model]) -> int:
    """Answers that aren't what the version that they name gives for their input."""
    digests = {model.version: model.made.digest for model in models}

    def right(line: dict) -> bool:
        wanted = expected[line["version"]][int(line["input"].removesuffix(".npy"))]
        same = np.allclose(line["output"], wanted.reshape(-1), rtol=0, atol=_SAME)
        return bool(same) and digests[line["version"]] == line["artifact"]

    return sum(not right(line) for line in found if "error" not in line)


class _Family:
    """Watches the memory of a process with its children, 20 times a second."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Family":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            total = 0
            for process in (self._process, *self._process.children()):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.peak_mb = max(self.peak_mb, total / 2**20)
