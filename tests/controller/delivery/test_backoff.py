"""How long the broker's supervisor and the link wait, as tables."""

import pytest

from litefleet_controller.delivery.backoff import Backoff

BACKOFF = Backoff(first_s=0.5, longest_s=30.0, steady_s=5.0)


def test_failures_in_a_row_wait_twice_as_long_up_to_a_limit() -> None:
    waits = [0.0]
    for _ in range(8):
        waits.append(BACKOFF.failed(waits[-1]))
    assert waits[1:] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("ran_s", [5.0, 8.0, 3600.0])
def test_what_ran_for_a_while_comes_back_as_after_the_first_time_however_often_it_was_lost(ran_s: float) -> None:
    wait = 30.0
    for _ in range(20):
        wait = BACKOFF.ended(wait, ran_s)
        assert wait == 0.5


def test_what_ran_shortly_waits_no_longer_than_it_ran() -> None:
    wait = 0.0
    for _ in range(20):
        wait = BACKOFF.ended(wait, 3.0)
    assert wait == 3.0


def test_what_ends_at_once_waits_at_least_as_long_as_the_first_time() -> None:
    assert BACKOFF.ended(0.0, 0.001) == 0.5
