"""The few statistics that analysis needs, in plain Python: an exact test on shares, the PSI, moments of a histogram.

Sources. Fisher's exact test: Fisher, Statistical Methods for Research Workers, 1934, section 21.02. PSI and its
distribution: Yurdakul, Statistical Properties of Population Stability Index (Western Michigan University, 2018): when
both samples come from one population, PSI / (1/n + 1/m) is about chi-square with B - 1 degrees of freedom, hence
PSI's expectation is (B - 1)(1/n + 1/m) and not 0. Chi-square quantile: Wilson and Hilferty, PNAS 17 (1931).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from litefleet_protocol.histogram import RELATIVE_ERROR, Histogram, bucket_index, bucket_value

SMOOTHING = 0.5
"""Added to each bin's count, so that an empty bin has a logarithm (Jeffreys' prior)."""
LEAST_EXPECTED = 5.0
"""Cochran's rule: bins where fewer are expected in the smaller sample are merged."""


def psi(canary: Sequence[int], control: Sequence[int]) -> float:
    """Population stability index of two samples' counts by bin: sum of (p - q) ln(p / q), each bin smoothed by half."""
    n = sum(canary) + SMOOTHING * len(canary)
    m = sum(control) + SMOOTHING * len(control)
    shares = [((a + SMOOTHING) / n, (b + SMOOTHING) / m) for a, b in zip(canary, control, strict=True)]
    return math.fsum((p - q) * math.log(p / q) for p, q in shares)


def psi_bias(bins: int, n: int, m: int) -> float:
    """What `psi` is on average when both samples come from one population."""
    return (bins - 1) * (1 / n + 1 / m)


def chi_square(canary: Sequence[int], control: Sequence[int]) -> float:
    """Pearson's statistic that both samples come from one population. Its tail is nearer chi-square than the PSI's."""
    n, m = sum(canary), sum(control)
    together = [(a, b, (a + b) / (n + m)) for a, b in zip(canary, control, strict=True) if a + b]
    return math.fsum((a - n * p) ** 2 / (n * p) + (b - m * p) ** 2 / (m * p) for a, b, p in together)


def chi_square_quantile(degrees: int, z: float) -> float:
    """The value that chi-square exceeds as rarely as a standard normal exceeds `z`."""
    if degrees < 1:
        return math.inf
    spread = 2 / (9 * degrees)
    return degrees * float(1 - spread + z * math.sqrt(spread)) ** 3


def excess_probability(canary_hits: int, n: int, control_hits: int, m: int) -> float:
    """Fisher's one-sided test: how probable at least `canary_hits` of `n` are, when both shares are the same."""
    hits = canary_hits + control_hits
    if canary_hits * (n + m) <= hits * n:
        return 1.0
    term = math.exp(_log_choose(n, canary_hits) + _log_choose(m, control_hits) - _log_choose(n + m, hits))
    tail = term
    for x in range(canary_hits, min(hits, n)):
        term *= (n - x) * (hits - x) / ((x + 1) * (m - hits + x + 1))
        tail += term
        if term < tail * 1e-9:
            break
    return tail


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def variance(histogram: Histogram) -> float:
    """Of the values, from the buckets; never below what the buckets' width leaves unknown."""
    n = histogram.count
    values = [(bucket_value(i), c) for i, c in histogram.buckets.items()]
    mean = math.fsum(v * c for v, c in values) / n
    squares = math.fsum(c * (v - mean) ** 2 for v, c in values) + histogram.zeros * mean**2
    return squares / n + (RELATIVE_ERROR * mean) ** 2


def count_above(histogram: Histogram, value: float) -> int:
    """Values in buckets over the one of `value`."""
    edge = bucket_index(value) if value > 0 else None
    return sum(c for i, c in histogram.buckets.items() if edge is None or i > edge)


def deciles_of_unit(histogram: Histogram) -> list[int]:
    """Counts in ten equal bins of [0, 1]; a bucket goes where its representative value falls."""
    bins = [0] * 10
    bins[0] += histogram.zeros
    for index, count in histogram.buckets.items():
        bins[min(9, int(bucket_value(index) * 10))] += count
    return bins


def aligned(canary: Mapping[str, int], control: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Both samples' counts over the labels of either."""
    labels = sorted(canary.keys() | control.keys())
    return [canary.get(k, 0) for k in labels], [control.get(k, 0) for k in labels]


def merge_rare(canary: Sequence[int], control: Sequence[int]) -> tuple[list[int], list[int]]:
    """Empty bins dropped, rare ones (by both samples together, so that the choice favours neither) made one."""
    n, m = sum(canary), sum(control)
    if not n or not m:
        return list(canary), list(control)
    pairs = sorted(((a + b, a, b) for a, b in zip(canary, control, strict=True) if a + b), key=lambda pair: pair[0])
    least = LEAST_EXPECTED * (n + m) / min(n, m)
    merged: list[tuple[int, int, int]] = []
    for pair in pairs:
        if merged and merged[-1][0] < least:
            merged[-1] = _sum((merged[-1], pair))
        else:
            merged.append(pair)
    if len(merged) > 1 and merged[-1][0] < least:
        merged[-2:] = [_sum(merged[-2:])]
    return [a for _, a, _ in merged], [b for _, _, b in merged]


def _sum(pairs: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    totals, left, right = zip(*pairs, strict=True)
    return sum(totals), sum(left), sum(right)
