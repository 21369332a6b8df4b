"""Inputs shared among runners: the answers of one, in their order, and an error whoever meets it."""

import itertools
import threading
import time
from collections.abc import Collection
from types import SimpleNamespace

import numpy as np
import pytest

from litefleet_controller.convert.engines import sharing
from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.sharing import run_shared
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_protocol.tensors import Signature, TensorSpec

X = np.arange(60, dtype=np.float32).reshape(60, 1)


class Doubling:
    """Answers twice its input, after `seconds`, and fails on some."""

    signature = Signature(inputs=(), outputs=(TensorSpec(name="y", shape=(1, 1), dtype="float32"),))

    def __init__(self, seconds: float = 0.0, bad: Collection[int] = ()) -> None:
        self._seconds, self._bad = seconds, bad
        self.threads: set[str] = set()

    def infer(self, sample: Floats) -> list[Floats]:
        self.threads.add(threading.current_thread().name)
        time.sleep(self._seconds)
        if int(sample[0, 0]) in self._bad:
            raise ValueError("not this one")
        return [sample * 2]


@pytest.fixture(autouse=True)
def three_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a clock by which every look is a second after the one before: what is left takes long."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(sharing, "time", SimpleNamespace(perf_counter=itertools.count().__next__))


def test_the_answers_are_those_of_one_runner_in_their_order() -> None:
    loaded: list[Doubling] = []

    def another() -> Doubling:
        loaded.append(Doubling(0.005))
        return loaded[-1]

    first, heard = Doubling(0.005), []
    (shared,) = run_shared(first, another, X, heard.append)
    np.testing.assert_array_equal(shared, run(Doubling(), X)[0])
    assert len(loaded) == 2
    assert first.threads == {"MainThread"}, "what is timed is one thread's"
    assert all(len(runner.threads) <= 1 for runner in loaded)
    assert heard[0] == 0


@pytest.mark.parametrize("inputs", [1, 5, 8, 60])
def test_what_one_runner_does_at_once_is_not_shared(inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "time", SimpleNamespace(perf_counter=lambda: 0.0))

    def another() -> Doubling:
        raise AssertionError("nobody needs it")

    (answers,) = run_shared(Doubling(), another, X[:inputs])
    np.testing.assert_array_equal(answers, X[:inputs] * 2)


@pytest.mark.parametrize(("bad", "helpers_bad"), [((3,), ()), ((), range(60)), (range(40, 60), range(40, 60))])
def test_an_input_that_fails_anywhere_fails_the_variant(bad: Collection[int], helpers_bad: Collection[int]) -> None:
    with pytest.raises(RungError, match="not this one"):
        run_shared(Doubling(0.02, bad), lambda: Doubling(0.0, helpers_bad), X)
    assert not [t for t in threading.enumerate() if t.name.startswith("evaluate")], "nobody goes on"


def test_a_runner_that_cannot_be_loaded_is_an_error() -> None:
    def another() -> Doubling:
        raise RungError("BadShape", "no memory for a second one")

    with pytest.raises(RungError, match="a second one"):
        run_shared(Doubling(0.02), another, X)
