"""Which weights go, and when."""

import numpy as np
import pytest

from litefleet_controller.convert.making.pruning.lesson import check_time
from litefleet_controller.convert.making.pruning.magnitude import kept, sparsity_at
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import FineTuning, Magnitude

HOW = Magnitude(
    initial_sparsity=0.2,
    final_sparsity=0.8,
    ramp=0.5,
    sparsity_once=0.2,
    min_weights=1,
    fine_tuning=FineTuning(epochs=1, learning_rate=1e-3, seed=1),
)


def test_the_weights_nearest_to_zero_go_whatever_their_sign() -> None:
    weights = np.array([[-3.0, 0.1], [0.5, -0.2]], np.float32)
    assert kept(weights, 0.5).tolist() == [[True, False], [True, False]]


@pytest.mark.parametrize(("sparsity", "gone"), [(0.0, 0), (0.09, 0), (0.1, 1), (0.55, 5), (1.0, 10)])
def test_the_share_is_rounded_down(sparsity: float, gone: int) -> None:
    assert np.sum(~kept(np.arange(1, 11, dtype=np.float32), sparsity)) == gone


def test_of_equal_weights_the_first_go() -> None:
    assert kept(np.ones(4, np.float32), 0.5).tolist() == [False, False, True, True]


def test_sparsity_grows_on_a_cubic_from_the_initial_to_the_final_and_stays_there() -> None:
    """Zhu & Gupta 2017, equation 1, with the ramp's end at step 50 of 0 to 100."""
    at = [sparsity_at(step, 101, HOW) for step in range(101)]
    assert (at[0], at[50], at[100]) == pytest.approx((0.2, 0.8, 0.8))
    assert at[25] == pytest.approx(0.8 - 0.6 * 0.5**3)
    assert at == sorted(at)


def test_a_training_of_one_step_ends_at_the_final_sparsity_all_the_same() -> None:
    assert sparsity_at(1, 1, HOW) == pytest.approx(0.8)


def test_a_training_that_would_not_end_in_time_is_refused_when_it_has_begun() -> None:
    check_time(0.5, 100, 50)
    with pytest.raises(RungError, match=r"about 100 s of CPU time, and there are 50: set fewer spec.training.samples"):
        check_time(1.0, 100, 50)
