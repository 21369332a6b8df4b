"""An agent killed at every operation on its disk, and again on its way back, and robbed of what it had not synced.

What is done and what it models: `tests/killing`. Each disk that a kill leaves is a state, and from each the board must
come by a plain restart to where it would have come unharmed.
"""

import concurrent.futures
import itertools
import queue
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.figures import Figure, Run
from tests.killing.building import build
from tests.killing.forkserver import ForkServer
from tests.killing.lane import PROBATION_S, Lane
from tests.killing.scenarios import SCENARIOS, expected
from tests.killing.states import State, points_of, states_at

_LANES, _SAMPLE_LANES = 4, 2
"""Boards at a time: each waits for its probation most of the time."""
_SAMPLE = 3
_SAMPLED = 2
"""Scenarios."""
_SHOWN = 5
_CONVERGES_S = 5.0
"""Enough for what a start and an update do here; not for waiting for chunks, or for more than one pause between tries."""
T = TypeVar("T")


def agent_kills(run: Run) -> Sequence[Figure]:
    """Some boards at a time, each killed and started again all the while, under load."""
    found, passed_by = states(run)
    return _figures(found, passed_by, run)


def states(run: Run) -> tuple[list[State], int]:
    """Every state that was reached, and how many points the agent did not come by a second time."""
    chance = random.Random(run.seed)
    with _lanes(_SAMPLE_LANES if run.sample else _LANES) as each:
        scenarios = chance.sample(SCENARIOS, _SAMPLED) if run.sample else SCENARIOS
        traced = zip(scenarios, each(points_of, [(s,) for s in scenarios]), strict=True)
        points = [(scenario, point) for scenario, found in traced for point in found]
        chosen = sorted(chance.sample(points, _SAMPLE), key=points.index) if run.sample else points
        found = list(each(states_at, [(*one, run.seed) for one in chosen]))
    return list(itertools.chain(*found)), found.count([])


@contextmanager
def _lanes(count: int) -> Iterator[Callable[[Callable[..., T], Sequence[tuple]], Iterator[T]]]:
    """Something like `map` for functions that take a lane first; results come in order."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        built = build(folder)
        server = stack.enter_context(closing(ForkServer(folder, built.shim, built.launcher)))
        outputs = expected()
        free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for n in range(count):
            (folder / str(n)).mkdir()
            free.put(stack.enter_context(closing(Lane(folder / str(n), server, outputs))))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(count))

        def each(work: Callable[..., T], jobs: Sequence[tuple]) -> Iterator[T]:
            def do(job: tuple) -> T:
                lane = free.get()
                try:
                    return work(lane, *job)
                finally:
                    free.put(lane)

            return pool.map(do, jobs)

        yield each


def _figures(found: Sequence[State], passed_by: int, run: Run) -> Sequence[Figure]:
    kinds = Counter(state.kind for state in found)
    reached = {**kinds, "scenarios": len({s.scenario for s in found}), "points not come by": passed_by}
    answers = {"answers": sum(s.answers for s in found)}
    times = [s.took_s for s in found if not s.repair]
    p50, p99 = np.percentile(times, (50, 99)) if times else (np.inf, np.inf)
    spread = {"p50 s": float(p50), "longest s": max(times, default=np.inf)}
    probation = f"from the restart to the end of a probation of {PROBATION_S:g} s, without the start of Python"

    def none(name: str, unit: str, sides: dict[str, float], complaints: Callable[[State], Sequence[str]]) -> Figure:
        all_of_them = [f"{s.scenario}: {s.what}: {c}" for s in found for c in complaints(s)]
        note = "; ".join(all_of_them[:_SHOWN])
        return Figure(f"agent-kill-{name}", len(all_of_them), unit, 0, "==", sides, run.seed, note)

    return [
        Figure("agent-kill-states", len(found), "states", 2000, ">=", reached, run.seed),
        none("wrong-serves", "answers", answers, lambda s: s.wrong),
        none("lost-inferences", "inferences", answers, lambda s: s.lost),
        none("forgotten", "reports", reached, lambda s: s.broken),
        none("manual-repairs", "states", reached, lambda s: [s.repair] if s.repair else []),
        Figure("agent-kill-converge-p99", float(p99), "s", _CONVERGES_S, "<", spread, run.seed, probation),
    ]
