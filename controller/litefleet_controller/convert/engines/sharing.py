"""Running many inputs on all processors: one runner each, on a thread each. The engines let go of Python's lock.

Each inference stays on one thread, so the answers are the same, bit by bit, as one runner's. A small model is done
before another runner would be loaded, and is left alone.
"""

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from litefleet_controller.convert.engines.interface import Runner, Tick, first_line, stacked
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError

_ALONE = 8
"""Inputs by which is known how long the others will take."""
_WORTHWHILE_S = 0.1
"""Below it, what is left is done sooner than shared."""
_TICK_EVERY = 100


def run_shared(runner: Runner, another: Callable[[], Runner], x: Floats, tick: Tick = lambda _: None) -> list[Floats]:
    """Run inputs (N, ...) one by one; for each output its values, float32 (N, ...). `another` loads one more runner.

    Raises:
        RungError: `BadOutput`, when the engine fails on an input; what `another` raises.
    """
    work = _Work(x)
    begun = time.perf_counter()
    work.do(runner, _ALONE, tick)
    left_s = (time.perf_counter() - begun) / _ALONE * (len(x) - _ALONE)
    helpers = _processors() - 1
    if left_s < _WORTHWHILE_S or helpers < 1:
        work.do(runner, len(x), tick)
        return work.answers()
    with ThreadPoolExecutor(helpers, thread_name_prefix="evaluate") as threads:
        helping = [threads.submit(work.help, another) for _ in range(helpers)]
        try:
            work.do(runner, len(x), tick)
        finally:
            work.stop()
        for each in helping:
            each.result()
    return work.answers()


def _processors() -> int:
    """Those that this process may use; only Linux tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Work:
    """Inputs that are taken one after the other, by any thread, and the answers in their order."""

    def __init__(self, x: Floats) -> None:
        self._x = x
        self._next = itertools.count()  # its next() is one step to Python's lock
        self._answers: list[list[Floats]] = [[] for _ in x]

    def do(self, runner: Runner, most: int, tick: Tick) -> None:
        """Take inputs until none is left, or `most` were."""
        ticked = -_TICK_EVERY
        for _ in range(most):
            number = next(self._next)
            if number >= len(self._x):
                return
            try:
                self._answers[number] = runner.infer(self._x[number : number + 1])
            except (ValueError, RuntimeError) as e:
                raise RungError("BadOutput", f"the variant can't be run: {first_line(e)}") from e
            if number >= ticked + _TICK_EVERY:
                ticked = number
                tick(number / len(self._x))

    def help(self, another: Callable[[], Runner]) -> None:
        """The same with a runner that is loaded first, and in silence: one thread tells how far things are."""
        self.do(another(), len(self._x), lambda _: None)

    def stop(self) -> None:
        """Have nobody take another input."""
        self._next = itertools.count(len(self._x))

    def answers(self) -> list[Floats]:
        """Of all inputs, an array an output."""
        return [stacked(list(output)) for output in zip(*self._answers, strict=True)]
