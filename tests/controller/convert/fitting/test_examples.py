"""Which examples are held out."""

import numpy as np
import pytest

from litefleet_controller.convert.fitting.examples import split
from litefleet_controller.convert.interface import ConversionError

Y = np.array([0] * 100 + [1] * 20 + [2] * 2 + [3])


def test_a_share_of_each_class_is_held_out_and_nothing_is_on_both_sides() -> None:
    parts = split(Y, 0.1, seed=1)
    assert {int(c): int(n) for c, n in zip(*np.unique(Y[parts.held_out], return_counts=True), strict=True)} == {
        0: 10, 1: 2, 2: 1,
    }  # fmt: skip
    assert sorted([*parts.training, *parts.held_out]) == list(range(len(Y)))


def test_the_seed_decides() -> None:
    assert np.array_equal(split(Y, 0.1, seed=1).held_out, split(Y, 0.1, seed=1).held_out)
    assert not np.array_equal(split(Y, 0.1, seed=1).held_out, split(Y, 0.1, seed=2).held_out)


def test_the_first_of_each_side_are_of_several_classes() -> None:
    parts = split(np.repeat([0, 1], 50), 0.2, seed=1)
    assert len(set(np.repeat([0, 1], 50)[parts.training[:20]])) == 2
    assert len(set(np.repeat([0, 1], 50)[parts.held_out[:15]])) == 2


def test_without_two_of_anything_there_is_nothing_to_measure_on() -> None:
    with pytest.raises(ConversionError, match="no class has two examples") as refused:
        split(np.array([0, 1, 2]), 0.1, seed=1)
    assert (refused.value.code, refused.value.final) == ("TrainingInvalid", True)
