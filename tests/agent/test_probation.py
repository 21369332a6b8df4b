"""Probation: the gates as a table, and whose inferences count."""

import pytest

from litefleet_agent.probation import ENOUGH, Failing, Probation, Seen, judge
from litefleet_agent.swap import Observation
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.messages import Gates

from .models import generation


def latencies(*values):
    builder = HistogramBuilder()
    for value in values:
        builder.add(value)
    return builder.freeze()


def seen(answers=100, errors=0, latency=(1.0,), rss=None, fatal=None):
    return Seen(answers, errors, latencies(*latency), rss, fatal)


GATES = Gates(max_latency_ms=10, max_error_rate=0.01, max_memory_bytes=1000)


@pytest.mark.parametrize(
    ("what", "over", "code"),
    [
        (seen(), True, None),
        (seen(answers=0, latency=()), True, None),
        (seen(fatal=Failing("BadOutput", "NaN")), False, "BadOutput"),
        (seen(rss=1001), False, "MemoryLimit"),
        (seen(rss=1000), False, None),
        (seen(answers=98, errors=2), False, "ErrorRate"),
        (seen(answers=99, errors=1), False, None),
        (seen(answers=0, errors=1, latency=()), False, None),
        (seen(answers=0, errors=1, latency=()), True, "ErrorRate"),
        (seen(latency=[1.0] * 90 + [20.0] * 10), False, "TooSlow"),
        (seen(latency=[1.0] * 99 + [20.0]), False, None),
        (seen(answers=ENOUGH - 1, latency=[20.0] * 19), False, None),
        (seen(answers=ENOUGH - 1, latency=[20.0] * 19), True, "TooSlow"),
    ],
)
def test_gate(what, over, code):
    failing = judge(what, GATES, over=over)
    assert (failing.code if failing else None) == code


def test_gates_that_are_off_hold_nothing_back():
    open_gates = Gates(max_latency_ms=None, max_error_rate=None, max_memory_bytes=None)
    assert judge(seen(answers=1, errors=99, latency=[1e6], rss=10**12), open_gates, over=True) is None


def observation(of, latency_ms):
    return Observation(of.number, of.artifact, of.version, latency_ms, "a", 0.9, 0.0)


def test_only_the_model_on_trial_counts():
    trial, other = generation("v2"), generation("v1")
    probation = Probation(1, trial, GATES, ends_at=10.0)
    for _ in range(50):
        probation.answered(observation(other, 500.0))
        probation.failed(other, "Internal", "")
        probation.answered(observation(trial, 1.0))
    assert probation.verdict(11.0, lambda: 0) is None


def test_verdict_remembers_what_was_seen_between_looks():
    trial = generation("v2")
    probation = Probation(1, trial, GATES, ends_at=10.0)
    for _ in range(15):
        probation.answered(observation(trial, 50.0))
    assert probation.verdict(1.0, lambda: 0) is None
    for _ in range(15):
        probation.answered(observation(trial, 50.0))
    assert probation.verdict(2.0, lambda: 0).code == "TooSlow"


def test_input_that_no_model_could_answer_does_not_count_against_the_one_on_trial():
    trial = generation("v2")
    probation = Probation(1, trial, GATES, ends_at=10.0)
    for _ in range(50):
        probation.failed(trial, "BadMessage", "")
    assert probation.verdict(11.0, lambda: 0) is None


@pytest.mark.parametrize("code", ["BadOutput", "ModelCrashed", "Timeout", "MemoryLimit"])
def test_what_no_model_may_do_ends_a_probation_at_once_with_its_reason(code):
    trial = generation("v2")
    probation = Probation(1, trial, GATES, ends_at=10.0)
    probation.failed(trial, code, "why")
    probation.failed(trial, "ErrorRate", "what came after")
    assert probation.verdict(0.0, lambda: 0) == Failing(code, "why")
