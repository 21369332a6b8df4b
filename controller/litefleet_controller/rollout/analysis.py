"""Judge one class: is the canary worse than the control, by more than allowed and by more than chance?

A metric fails only when both hold: the canary is past the template's limit, and a difference as large would come by
chance, with the same model on both sides, with a probability under `CHANCE` (a normal deviate of 4). Past the limit
but within chance is Inconclusive, so that the next look, with more inferences, decides. Within the limit is
Successful. Fewer than `minSamples` in either arm is Inconclusive whatever the numbers say.

The tests take inferences as independent and both arms as fed from one stream. Boards that see different scenes differ
for that reason alone; the limits, not the tests, are what allows for it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from litefleet_controller.resources.rollout import AnalysisTemplateSpec, Metric, MetricName, MetricResult
from litefleet_controller.rollout.statistics import (
    aligned,
    chi_square,
    chi_square_quantile,
    count_above,
    deciles_of_unit,
    excess_probability,
    merge_rare,
    psi,
    psi_bias,
    variance,
)
from litefleet_controller.rollout.view import Arm, Evidence

__all__ = ["CAUSES", "CHANCE", "DEVIATE", "first_version", "judge", "psi"]

DEVIATE = 4.0
CHANCE = 0.5 * math.erfc(DEVIATE / math.sqrt(2))
"""3.2e-5: with a dozen metrics and classes a look, a false alarm stays rarer than 1 in 1000."""

CAUSES: Mapping[str, str] = {
    "confidence": "ConfidenceDrift",
    "classMix": "ClassMixDrift",
    "errorRate": "ErrorRate",
    "latencyP95": "Latency",
}
"""Metric to the code of the abort that it causes."""

Verdict = Literal["Successful", "Failed", "Inconclusive"]


@dataclass(frozen=True, slots=True)
class _Measure:
    """One comparison: what is said of it, the value that is held against the limit, and whether chance explains it."""

    name: str
    allowed: str
    canary: float | None
    control: float | None
    value: float
    limit: float
    is_chance: bool
    show: Callable[[float], str]


def judge(template: AnalysisTemplateSpec, evidence: Evidence) -> list[MetricResult]:
    """One result for each limit of each metric of `template`."""
    return [r for metric in template.metrics for r in _judge_metric(metric, template.min_samples, evidence)]


def first_version(template: AnalysisTemplateSpec, device_class: str) -> list[MetricResult]:
    """The results for a class that never completed any version."""
    return [
        MetricResult(
            device_class=device_class,
            metric=m.metric,
            verdict="Successful",
            message=f"{device_class}: nothing to compare with: first version",
        )
        for m in template.metrics
    ]


def _judge_metric(metric: Metric, min_samples: int, evidence: Evidence) -> list[MetricResult]:
    samples = _SAMPLES[metric.metric]
    n, m = samples(evidence.canary), samples(evidence.control)
    if n == m == 0 and min(evidence.canary.count, evidence.control.count) >= max(1, min_samples):
        # Inferences without classes: waiting for some would keep the rollout for ever.
        message = f"{evidence.device_class}: {metric.metric} says nothing of a model whose outputs are raw tensors"
        return [_result(metric.metric, evidence, "Successful", message, n, m)]
    if min(n, m) < max(1, min_samples):
        has = _sizes(evidence, n, m)
        message = f"{evidence.device_class}: {metric.metric} needs {min_samples} inferences of each side, has {has}"
        return [_result(metric.metric, evidence, "Inconclusive", message, n, m)]
    return [
        _conclude(metric.metric, x, evidence, n, m)
        for x in _MEASURES[metric.metric](metric, evidence.canary, evidence.control)
    ]


def _conclude(metric: str, measure: _Measure, evidence: Evidence, n: int, m: int) -> MetricResult:
    verdict: Verdict = "Successful"
    remark = ""
    if measure.value > measure.limit:
        verdict = "Inconclusive" if measure.is_chance else "Failed"
        remark = "; past the limit, but so few inferences may differ by chance" if measure.is_chance else ""
    message = f"{evidence.device_class}: {_comparison(measure, evidence, n, m)}; allowed {measure.allowed}{remark}"
    result = _result(metric, evidence, verdict, message, n, m)
    return result.model_copy(
        update={"canary": measure.canary, "control": measure.control, "value": measure.value, "limit": measure.limit}
    )


def _comparison(measure: _Measure, evidence: Evidence, n: int, m: int) -> str:
    other = "the control" if evidence.baseline == "control" else "the class's own past"
    if measure.canary is None or measure.control is None:
        return f"{measure.name} {measure.show(measure.value)} between {n} inferences of the canary and {m} of {other}"
    return (
        f"{measure.name} {measure.show(measure.canary)} on {n} inferences of the canary"
        f" against {measure.show(measure.control)} on {m} of {other}"
    )


def _sizes(evidence: Evidence, n: int, m: int) -> str:
    return f"{n} of the canary and {m} of {'the control' if evidence.baseline == 'control' else 'its own past'}"


def _result(metric: str, evidence: Evidence, verdict: Verdict, message: str, n: int, m: int) -> MetricResult:
    return MetricResult(
        device_class=evidence.device_class,
        metric=metric,
        verdict=verdict,
        canary_samples=n,
        control_samples=m,
        baseline=evidence.baseline,
        message=message,
    )


# --- the metrics -------------------------------------------------------------------------------------------------


def _attempts(arm: Arm) -> int:
    """Inferences that were answered, and those that erred instead."""
    return arm.count + arm.errors


def _error_rate(metric: Metric, canary: Arm, control: Arm) -> list[_Measure]:
    n, m = _attempts(canary), _attempts(control)
    ours, theirs = canary.errors / n, control.errors / m
    limit = metric.max_increase or 0.0
    chance = excess_probability(canary.errors, n, control.errors, m) > CHANCE
    return [_Measure("error rate", f"increase {_percent(limit)}", ours, theirs, ours - theirs, limit, chance, _percent)]


def _latency(metric: Metric, canary: Arm, control: Arm) -> list[_Measure]:
    """Compare 95th percentiles.

    The share of the canary's inferences above the control's 95th percentile is tested against the control's own
    share (the control quantile test: Mathisen, Ann. Math. Statist. 14, 1943), which needs no shape of the latencies.
    """
    ours, theirs = canary.latency_ms.quantile(0.95), control.latency_ms.quantile(0.95)
    limit = metric.max_ratio or math.inf
    above = [count_above(arm.latency_ms, theirs) for arm in (canary, control)]
    chance = excess_probability(above[0], canary.latency_ms.count, above[1], control.latency_ms.count) > CHANCE
    ratio = ours / theirs if theirs > 0 else (math.inf if ours > 0 else 1.0)
    return [
        _Measure(
            "95th percentile of latency", f"ratio {limit:g}", ours, theirs, min(ratio, 1e9), limit, chance, _millis
        )
    ]


def _confidence(metric: Metric, canary: Arm, control: Arm) -> list[_Measure]:
    found: list[_Measure] = []
    if metric.max_drop is not None:
        ours, theirs = canary.confidence.mean, control.confidence.mean
        error = math.sqrt(
            variance(canary.confidence) / canary.confidence.count
            + variance(control.confidence) / control.confidence.count
        )
        chance = theirs - ours <= DEVIATE * error
        found.append(
            _Measure(
                "mean confidence",
                f"drop {metric.max_drop:.2f}",
                ours,
                theirs,
                theirs - ours,
                metric.max_drop,
                chance,
                _plain,
            )
        )
    if metric.max_psi is not None:
        bins = deciles_of_unit(canary.confidence), deciles_of_unit(control.confidence)
        found.append(_shift("confidence PSI", metric.max_psi, *bins))
    return found


def _class_mix(metric: Metric, canary: Arm, control: Arm) -> list[_Measure]:
    return [_shift("class mix PSI", metric.max_psi or math.inf, *aligned(canary.classes, control.classes))]


def _shift(name: str, limit: float, canary: Sequence[int], control: Sequence[int]) -> _Measure:
    """PSI less its bias under no shift; chance by Pearson's statistic on the same bins."""
    ours, theirs = merge_rare(canary, control)
    n, m, bins = sum(ours), sum(theirs), len(ours)
    value = max(0.0, psi(ours, theirs) - psi_bias(bins, n, m)) if bins > 1 else 0.0
    chance = chi_square(ours, theirs) <= chi_square_quantile(bins - 1, DEVIATE)
    return _Measure(name, f"{limit:.2f}", None, None, value, limit, chance, _plain)


_SAMPLES: Mapping[MetricName, Callable[[Arm], int]] = {
    "errorRate": _attempts,
    "latencyP95": lambda arm: arm.latency_ms.count,
    "confidence": lambda arm: arm.confidence.count,
    "classMix": lambda arm: sum(arm.classes.values()),
}
_MEASURES: Mapping[MetricName, Callable[[Metric, Arm, Arm], list[_Measure]]] = {
    "errorRate": _error_rate,
    "latencyP95": _latency,
    "confidence": _confidence,
    "classMix": _class_mix,
}


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _millis(value: float) -> str:
    return f"{value:.1f} ms"


def _plain(value: float) -> str:
    return f"{value:.2f}"
