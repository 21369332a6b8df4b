"""What the agent costs a board beside the script that people run without it: memory, time to the first inference, idling."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.agent.broker import until
from tests.agent.world import DEVICE, World
from tests.benchmarks.boards import configure, images, lines, mobilenet, status_kb
from tests.figures import Figure, Run

_SIZE, _RATE_HZ = 224, 20.0
_STARTS, _SETTLED, _SETTLE_S, _IDLE_S = 25, 5, 10.0, 30.0
SCRIPT = Path(__file__).parent / "minimal_script.py"


def footprint(run: Run) -> Sequence[Figure]:
    """The same MobileNetV2, inputs, rate and broker over mutual TLS for both; PSS by the kernel's smaps_rollup.

    Starts are in turns, with files in the page cache and Python's bytecode compiled, as it is where pip installed
    either: from the process's start until its first answer is in a file.
    """
    plan = _Plan(1, 1, 1.0, 1.0) if run.sample else _Plan(_STARTS, _SETTLED, _SETTLE_S, _IDLE_S)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            return _measure(world, run, plan)
        finally:
            world.close()


@dataclass(frozen=True)
class _Plan:
    """How often and how long."""

    starts: int
    settled: int
    """Starts after which memory is looked at, `settle_s` later."""
    settle_s: float
    idle_s: float


def _measure(world: World, run: Run, plan: _Plan) -> Sequence[Figure]:
    model = mobilenet(world, "digits-v1", 1, _SIZE)
    configure(world, images(run.seed, 4, _SIZE), _RATE_HZ)
    world.controller.publish(model.made)
    world.controller.assign(model.made, probation_seconds=0.5)
    world.start()
    world.controller.wait_for("Updated", model.version, 60)
    _end(world.process)
    agent, script = _Side(lambda: _start_agent(world), world.answers_file), _Side(lambda: _start_script(world, model.path), world.folder / "script.jsonl")  # fmt: skip
    for side in (agent, script):
        side.compile()
    for number in range(plan.starts):
        for side in (agent, script):
            side.start(plan.settle_s if number < plan.settled else None)
    idle = _idle_percent(world, plan.idle_s)
    note = f"MobileNetV2 at {_SIZE}, float32, {_RATE_HZ:g} inputs a second, TLS 1.3 with certificates on both sides"
    return [
        _ratio("footprint-pss", agent.pss_mb, script.pss_mb, 1.10, "MiB", run, note),
        _ratio("footprint-start", agent.first_s, script.first_s, 1.15, "s", run, f"{note}; to the first answer, median of {plan.starts}"),
        Figure("footprint-idle-cpu", idle, "% of a core", 0.2, "<=", {"seconds": plan.idle_s}, run.seed, "connected, the model loaded, no inputs in its folder"),
    ]  # fmt: skip


def _ratio(name: str, agent: list[float], script: list[float], goal: float, unit: str, run: Run, note: str) -> Figure:
    ours, theirs = statistics.median(agent), statistics.median(script)
    sides = {f"agent {unit}": ours, f"script {unit}": theirs}
    return Figure(name, ours / theirs, "of the script's", goal, "<=", sides, run.seed, note)


class _Side:
    """One of the two programs, started again and again."""

    def __init__(self, start: Callable[[], subprocess.Popen], answers: Path) -> None:
        self._start = start
        self._answers = answers
        self.first_s: list[float] = []
        self.pss_mb: list[float] = []

    def compile(self) -> None:
        """One start that doesn't count: Python keeps the bytecode of what it imports."""
        self.start(None)
        self.first_s.clear()

    def start(self, settle_s: float | None) -> None:
        """Time one start; with `settle_s`, memory too."""
        self._answers.unlink(missing_ok=True)
        began = time.monotonic()
        process = self._start()
        try:
            while not (self._answers.exists() and self._answers.stat().st_size):
                assert process.poll() is None, "it ended without an answer"
                time.sleep(0.001)
            self.first_s.append(time.monotonic() - began)
            if settle_s is None:
                return
            time.sleep(settle_s)
            self.pss_mb.append(status_kb(process.pid, "Pss", "smaps_rollup") / 1024)
        finally:
            _end(process)


def _start_agent(world: World) -> subprocess.Popen:
    world.start()
    return world.process


def _start_script(world: World, model: Path) -> subprocess.Popen:
    identity = world.state_dir / "identity"
    arguments = (model, world.inputs, world.folder / "script.jsonl", world.broker.port, identity, DEVICE, _RATE_HZ)
    return subprocess.Popen([sys.executable, str(SCRIPT), *map(str, arguments)], stderr=subprocess.DEVNULL)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait(10)


def _idle_percent(world: World, seconds: float) -> float:
    for image in world.inputs.iterdir():
        image.unlink()
    world.answers_file.unlink(missing_ok=True)
    connected = len(world.controller.reports())
    world.start()
    until(lambda: len(world.controller.reports()) > connected, "it is connected")
    until(lambda: world.controller.reports()[-1].slots["digits"].phase == "Updated", "the model is loaded")
    process = psutil.Process(world.process.pid)
    time.sleep(2.0)
    began, cpu = time.monotonic(), sum(process.cpu_times()[:4])
    time.sleep(seconds)
    used = sum(process.cpu_times()[:4]) - cpu
    assert not lines(world), "it was to have no inputs"
    return used / (time.monotonic() - began) * 100
