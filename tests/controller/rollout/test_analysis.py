import random
from collections import Counter

import pytest
from pydantic import ValidationError

from litefleet_controller.resources.rollout import AnalysisTemplateSpec
from litefleet_controller.rollout.analysis import CAUSES, CHANCE, first_version, judge
from litefleet_controller.rollout.view import Arm, Evidence
from litefleet_protocol.histogram import Histogram, HistogramBuilder

LABELS = "0123456789"


def histogram(values) -> Histogram:
    builder = HistogramBuilder()
    for value in values:
        builder.add(value)
    return builder.freeze()


def arm(count=0, errors=0, latency=(), confidence=(), classes=None) -> Arm:
    return Arm(count, errors, histogram(latency), histogram(confidence), classes or {})


def template(*metrics, min_samples=200) -> AnalysisTemplateSpec:
    named = [{"name": f"m{i}", **m} for i, m in enumerate(metrics)]
    return AnalysisTemplateSpec.model_validate({"metrics": named, "minSamples": min_samples})


ERRORS = {"metric": "errorRate", "maxIncrease": 0.01}
LATENCY = {"metric": "latencyP95", "maxRatio": 1.2}
CONFIDENCE = {"metric": "confidence", "maxDrop": 0.1}
CONFIDENCE_PSI = {"metric": "confidence", "maxPsi": 0.2}
MIX = {"metric": "classMix", "maxPsi": 0.2}


def verdict(metric, canary, control, **kwargs) -> str:
    (result,) = judge(template(metric, **kwargs), Evidence("rpi-4", canary, control))
    return result.verdict


@pytest.mark.parametrize(
    ("metric", "canary", "control", "expected"),
    [
        (ERRORS, arm(1000, 0), arm(1000, 0), "Successful"),
        (ERRORS, arm(995, 5), arm(1000, 0), "Successful"),  # within the limit
        (ERRORS, arm(900, 100), arm(1000, 0), "Failed"),
        (ERRORS, arm(0, 400), arm(400, 0), "Failed"),  # answers nothing at all
        (ERRORS, arm(980, 20), arm(900, 100), "Successful"),  # better than the control
        (ERRORS, arm(196, 4), arm(200, 0), "Inconclusive"),  # past the limit, within chance
        (ERRORS, arm(100, 50), arm(1000, 0), "Inconclusive"),  # too few
        (LATENCY, arm(latency=[10] * 300), arm(latency=[10] * 300), "Successful"),
        (LATENCY, arm(latency=[20] * 300), arm(latency=[10] * 300), "Failed"),
        (LATENCY, arm(latency=[20] * 300), arm(latency=[10] * 9000), "Failed"),
        (LATENCY, arm(latency=[11] * 300), arm(latency=[10] * 300), "Successful"),
        (LATENCY, arm(latency=[10] * 270 + [50] * 30), arm(latency=[10] * 290 + [50] * 10), "Inconclusive"),
        (CONFIDENCE, arm(confidence=[0.95] * 200), arm(confidence=[0.95] * 200), "Successful"),
        (CONFIDENCE, arm(confidence=[0.7] * 200), arm(confidence=[0.95] * 200), "Failed"),
        (CONFIDENCE, arm(confidence=[0.99] * 200), arm(confidence=[0.5] * 200), "Successful"),
        (CONFIDENCE, arm(confidence=[0.88] * 200), arm(confidence=[0.95] * 200), "Successful"),
        (CONFIDENCE, arm(confidence=[0.7] * 199), arm(confidence=[0.95] * 900), "Inconclusive"),
        (CONFIDENCE_PSI, arm(confidence=[0.95] * 150 + [0.3] * 150), arm(confidence=[0.95] * 300), "Failed"),
        (CONFIDENCE_PSI, arm(confidence=[0.95] * 300), arm(confidence=[0.95] * 300), "Successful"),
        (MIX, arm(classes={"a": 150, "b": 150}), arm(classes={"a": 300, "b": 300}), "Successful"),
        (MIX, arm(classes={"a": 290, "b": 10}), arm(classes={"a": 300, "b": 300}), "Failed"),
        (MIX, arm(classes={"new": 300}), arm(classes={"a": 300, "b": 300}), "Failed"),
        (MIX, arm(classes={"a": 300}), arm(classes={"a": 300}), "Successful"),
        (MIX, arm(classes={"a": 100}), arm(classes={"b": 900}), "Inconclusive"),
        (MIX, arm(300), arm(300), "Successful"),  # raw tensors: there is nothing to wait for
        (CONFIDENCE, arm(300), arm(300), "Successful"),
        (CONFIDENCE, arm(100), arm(300), "Inconclusive"),
        (CONFIDENCE, arm(300), arm(300, confidence=[0.9] * 300), "Inconclusive"),
    ],
)  # fmt: skip
def test_a_metric_fails_past_its_limit_and_past_chance_only(metric, canary, control, expected):
    assert verdict(metric, canary, control) == expected


def test_an_empty_arm_is_inconclusive_even_when_no_samples_are_asked_for():
    assert verdict(CONFIDENCE, arm(), arm(confidence=[0.9]), min_samples=1) == "Inconclusive"


def test_the_sentence_has_the_numbers_and_sizes_of_both_arms():
    evidence = Evidence("rpi-4", arm(confidence=[0.58] * 412), arm(confidence=[0.96] * 830))
    (result,) = judge(template(CONFIDENCE), evidence)
    assert result.message == (
        "rpi-4: mean confidence 0.58 on 412 inferences of the canary against 0.96 on 830 of the control; allowed drop 0.10"
    )
    assert (result.canary_samples, result.control_samples) == (412, 830)
    assert result.value == pytest.approx(0.38)


def test_a_class_judged_by_its_own_past_says_so():
    evidence = Evidence("rpi-4", arm(300, 90), arm(900, 1), baseline="past")
    (result,) = judge(template(ERRORS), evidence)
    assert result.baseline == "past"
    assert "the class's own past" in result.message


def test_a_confidence_metric_with_both_limits_gives_both_results():
    both = {"metric": "confidence", "maxDrop": 0.1, "maxPsi": 0.2}
    results = judge(template(both), Evidence("rpi-4", arm(confidence=[0.6] * 300), arm(confidence=[0.95] * 300)))
    assert [r.verdict for r in results] == ["Failed", "Failed"]


def test_the_first_version_passes_and_says_why():
    results = first_version(template(ERRORS, MIX), "rpi-4")
    assert [r.verdict for r in results] == ["Successful", "Successful"]
    assert results[0].message == "rpi-4: nothing to compare with: first version"


def test_every_metric_has_a_cause():
    assert set(CAUSES) == {"confidence", "classMix", "errorRate", "latencyP95"}


def test_every_result_survives_the_store():
    # An infinite ratio would not.
    (result,) = judge(template(LATENCY), Evidence("rpi-4", arm(latency=[5.0] * 300), arm(latency=[0.0] * 300)))
    assert type(result).model_validate(result.dump()) == result
    with pytest.raises(ValidationError):
        type(result).model_validate(result.dump() | {"value": float("inf")})


# --- error rates of the judgement itself --------------------------------------------------------------------------


def stream(rng: random.Random, n: int, *, confidence=(9, 1), error_rate=0.01, skew=0.3) -> Arm:
    """`n` inferences of one model: Beta confidences, log-normal latencies, Zipf-like labels, Bernoulli errors."""
    labels = Counter(rng.choices(LABELS, weights=[1 / (i + 1) for i in range(10)], k=n))
    errors = sum(rng.random() < error_rate for _ in range(n))
    return arm(
        n - errors,
        errors,
        [rng.lognormvariate(2, skew) for _ in range(n)],
        [rng.betavariate(*confidence) for _ in range(n)],
        dict(labels),
    )


STRICT = (
    {"metric": "errorRate", "maxIncrease": 0},
    {"metric": "latencyP95", "maxRatio": 1.0},
    {"metric": "confidence", "maxDrop": 0, "maxPsi": 0.0001},
    {"metric": "classMix", "maxPsi": 0.0001},
)
"""Limits of nothing: what is left is the protection against chance alone."""


def test_identical_models_fail_less_than_once_in_a_thousand_looks_even_with_limits_of_nothing():
    rng = random.Random(20260301)
    alarms = Counter()
    looks = 2000
    for _ in range(looks):
        evidence = Evidence("rpi-4", stream(rng, 200), stream(rng, rng.choice((200, 600))))
        alarms.update(r.metric for r in judge(template(*STRICT), evidence) if r.verdict == "Failed")
    assert sum(alarms.values()) <= looks / 1000, alarms


@pytest.mark.parametrize(
    ("n", "m", "rate"), [(200, 200, 0.005), (200, 5000, 0.005), (2000, 200, 0.02), (400, 400, 0.5)]
)
def test_identical_error_rates_fail_less_than_once_in_a_thousand(n, m, rate):
    rng = random.Random(f"{n} {m} {rate}")
    alarms = 0
    for _ in range(1000):
        ours, theirs = _binomial(rng, n, rate), _binomial(rng, m, rate)
        alarms += verdict(STRICT[0], Arm(n - ours, ours), Arm(m - theirs, theirs)) == "Failed"
    assert alarms <= 1


def _binomial(rng: random.Random, n: int, rate: float) -> int:
    return sum(rng.random() < rate for _ in range(n))


@pytest.mark.parametrize("labels", [2, 10, 100])
def test_identical_class_mixes_fail_less_than_once_in_a_thousand(labels):
    rng = random.Random(labels)
    weights = [1 / (i + 1) for i in range(labels)]
    names = [str(i) for i in range(labels)]
    alarms = 0
    for _ in range(2000):
        ours, theirs = (dict(Counter(rng.choices(names, weights, k=n))) for n in (200, 300))
        alarms += verdict(STRICT[3], Arm(classes=ours), Arm(classes=theirs)) == "Failed"
    assert alarms <= 1


@pytest.mark.parametrize(
    ("metric", "changed"),
    [
        (CONFIDENCE, {"confidence": (7, 3)}),
        (CONFIDENCE_PSI, {"confidence": (7, 3)}),
        (ERRORS, {"error_rate": 0.25}),
    ],
)
def test_a_true_shift_is_found_with_the_least_samples(metric, changed):
    rng = random.Random(7)
    found = sum(
        verdict(metric, stream(rng, 200, **changed), stream(rng, 200, confidence=(19, 1))) == "Failed"
        for _ in range(100)
    )
    assert found >= 99


def test_a_class_that_swallows_the_others_is_found_with_the_least_samples():
    rng = random.Random(8)
    inverted = [9, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    found = 0
    for _ in range(100):
        ours = Counter(rng.choices(LABELS, inverted, k=200))
        theirs = Counter(rng.choices(LABELS, k=200))
        found += verdict(MIX, Arm(classes=dict(ours)), Arm(classes=dict(theirs))) == "Failed"
    assert found >= 99


def test_doubled_latency_is_found_with_the_least_samples():
    rng = random.Random(9)
    slow = [[2 * rng.lognormvariate(2, 0.2) for _ in range(200)] for _ in range(100)]
    fast = [[rng.lognormvariate(2, 0.2) for _ in range(200)] for _ in range(100)]
    found = sum(verdict(LATENCY, arm(latency=a), arm(latency=b)) == "Failed" for a, b in zip(slow, fast, strict=True))
    assert found >= 99


def test_chance_is_that_of_a_normal_deviate_of_four():
    assert pytest.approx(3.167e-5, rel=1e-3) == CHANCE
