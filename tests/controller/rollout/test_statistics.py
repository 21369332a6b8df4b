import math
import random

import pytest

from litefleet_controller.rollout.statistics import (
    aligned,
    chi_square_quantile,
    count_above,
    deciles_of_unit,
    excess_probability,
    merge_rare,
    psi,
    psi_bias,
    variance,
)
from litefleet_protocol.histogram import Histogram, HistogramBuilder


def histogram(values) -> Histogram:
    builder = HistogramBuilder()
    for value in values:
        builder.add(value)
    return builder.freeze()


def test_psi_of_equal_shares_is_zero_whatever_the_sizes():
    assert psi([50, 50], [500, 500]) == pytest.approx(0, abs=1e-12)


def test_psi_is_the_symmetric_divergence_of_the_smoothed_shares():
    p, q = (80.5 / 101, 20.5 / 101), (50.5 / 101, 50.5 / 101)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert psi([80, 20], [50, 50]) == pytest.approx(expected)


def test_psi_is_finite_when_a_bin_is_empty_on_one_side():
    assert 1 < psi([0, 200], [100, 100]) < 10


def test_psi_of_one_population_is_its_bias_on_average():
    rng = random.Random(5)
    found = []
    for _ in range(400):
        canary, control = ([rng.randrange(10) for _ in range(n)] for n in (300, 500))
        found.append(psi([canary.count(i) for i in range(10)], [control.count(i) for i in range(10)]))
    assert sum(found) / len(found) == pytest.approx(psi_bias(10, 300, 500), rel=0.1)


@pytest.mark.parametrize(("degrees", "upper_tail_3_2e_5"), [(1, 17.31), (3, 23.51), (9, 36.55)])
def test_chi_square_quantile_is_near_the_exact_one(degrees, upper_tail_3_2e_5):
    # Exact values by integrating the density; the approximation errs to the careful side with one degree.
    assert upper_tail_3_2e_5 * 0.99 < chi_square_quantile(degrees, 4.0) < upper_tail_3_2e_5 * 1.1


def test_no_degrees_of_freedom_means_that_everything_is_chance():
    assert chi_square_quantile(0, 4.0) == math.inf


def test_excess_probability_is_fishers_tea_tasting():
    # The lady tasting tea: 3 of 4 right with margins of 4 has p = 17/70; all 4 right 1/70.
    assert excess_probability(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert excess_probability(4, 4, 0, 4) == pytest.approx(1 / 70)


def test_fewer_than_the_pooled_share_is_no_excess():
    assert excess_probability(1, 100, 10, 100) == 1.0


def test_excess_probability_when_everything_hits_is_one():
    assert excess_probability(100, 100, 100, 100) == 1.0


def test_excess_probability_of_large_counts_is_a_probability():
    assert 0 <= excess_probability(60_000, 1_000_000, 50_000, 1_000_000) < 1e-9


def test_variance_is_that_of_the_values_within_the_buckets_width():
    rng = random.Random(1)
    values = [rng.random() for _ in range(5000)]
    mean = sum(values) / len(values)
    exact = sum((v - mean) ** 2 for v in values) / len(values)
    assert variance(histogram(values)) == pytest.approx(exact, rel=0.02)


def test_variance_counts_zeros():
    assert variance(histogram([0.0] * 50 + [1.0] * 50)) == pytest.approx(0.25, rel=0.05)


def test_variance_of_equal_values_is_what_a_bucket_leaves_unknown():
    assert 0 < variance(histogram([0.9] * 100)) < 1e-3


def test_count_above_leaves_out_the_values_own_bucket():
    assert count_above(histogram([1.0, 2.0, 2.0, 3.0]), 2.0) == 1


def test_count_above_zero_counts_all_but_zeros():
    assert count_above(histogram([0.0, 0.5, 0.7]), 0.0) == 2


def test_confidences_fall_in_ten_bins_with_both_ends_inside():
    bins = deciles_of_unit(histogram([0.0, 0.05, 0.55, 0.95, 1.0]))
    assert bins == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]


def test_labels_of_either_side_are_aligned():
    assert aligned({"a": 1, "b": 2}, {"b": 3, "c": 4}) == ([1, 2, 0], [0, 3, 4])


def test_rare_bins_are_merged_and_no_count_is_lost():
    canary, control = [100, 1, 0, 2, 97], [99, 0, 1, 1, 99]
    ours, theirs = merge_rare(canary, control)
    assert len(ours) == 2
    assert (sum(ours), sum(theirs)) == (200, 200)


def test_a_label_that_only_the_canary_gives_keeps_its_bin():
    ours, theirs = merge_rare([120, 80], [200, 0])
    assert sorted(zip(ours, theirs, strict=True)) == [(80, 0), (120, 200)]


def test_an_empty_side_is_left_alone():
    assert merge_rare([0, 0], [5, 5]) == ([0, 0], [5, 5])
