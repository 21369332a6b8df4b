"""Quantiles are within the promised error, and merging loses nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol.histogram import (
    RELATIVE_ERROR,
    SMALLEST,
    Histogram,
    HistogramBuilder,
    bucket_index,
    bucket_value,
    merge,
)

values = st.lists(st.floats(SMALLEST, 1e9), min_size=1, max_size=200)


def histogram(of: list[float]) -> Histogram:
    builder = HistogramBuilder()
    for value in of:
        assert builder.add(value)
    return builder.freeze()


@given(values, st.floats(0, 1))
def test_a_quantile_is_within_the_relative_error(of: list[float], q: float) -> None:
    exact = sorted(of)[math.floor(q * (len(of) - 1))]
    assert histogram(of).quantile(q) == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)


@given(values, values)
def test_merged_counts_are_those_of_all_values_together(a: list[float], b: list[float]) -> None:
    merged, together = merge([histogram(a), histogram(b)]), histogram(a + b)
    assert (merged.buckets, merged.zeros) == (together.buckets, together.zeros)
    assert merged.total == pytest.approx(together.total)


@given(values, values, values)
def test_merging_does_not_depend_on_the_order(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = histogram(a), histogram(b), histogram(c)
    assert merge([merge([x, y]), z]).buckets == merge([z, merge([y, x])]).buckets


@given(st.floats(SMALLEST, 1e9))
def test_a_value_is_within_the_error_of_its_buckets_value(value: float) -> None:
    assert bucket_value(bucket_index(value)) == pytest.approx(value, rel=RELATIVE_ERROR + 1e-9)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf])
def test_what_is_no_measurement_is_not_counted(value: float) -> None:
    builder = HistogramBuilder()
    assert not builder.add(value)
    assert builder.freeze().count == 0


def test_zero_is_counted_and_is_the_smallest() -> None:
    found = histogram([0.0, 0.0, 5.0])
    assert found.count == 3
    assert found.quantile(0.5) == 0.0


def test_freezing_starts_anew() -> None:
    builder = HistogramBuilder()
    builder.add(1.0)
    first = builder.freeze()
    builder.add(2.0)
    assert (first.count, builder.freeze().count) == (1, 1)
    assert first.mean == 1.0


def test_an_empty_histogram_has_no_quantile() -> None:
    assert math.isnan(Histogram().quantile(0.5))
    assert math.isnan(Histogram().mean)


@pytest.mark.parametrize(
    "bad",
    [
        Histogram({10**9: 1}),
        Histogram({0: -1}),
        Histogram({0: 2**60}),
        Histogram({}, -1),
        Histogram({}, 0, math.inf),
        Histogram({}, 0, math.nan),
        Histogram({0: 1}, 0, 1e300),
        Histogram({0: 1}, 0, -1.0),
        Histogram({}, 0, 1.0),
    ],
)
def test_an_impossible_histogram_is_not_sound(bad: Histogram) -> None:
    assert not bad.is_sound()


def test_sound_histograms_never_overflow_together() -> None:
    parts = [histogram([1e308, 1e308, 1.0]) for _ in range(1000)]
    assert all(part.is_sound() for part in parts)
    assert math.isfinite(merge(parts).mean)


@given(values)
def test_what_was_built_is_sound(of: list[float]) -> None:
    assert histogram(of).is_sound()
