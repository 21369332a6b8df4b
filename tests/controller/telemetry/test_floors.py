"""What may be acknowledged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.telemetry.floors import PATIENCE_S, Floor, Floors, advance


@pytest.mark.parametrize(
    ("floor", "stored", "sequence", "ahead"),
    [
        (Floor(), [1, 2, 3], 3, set()),
        (Floor(), [0, 1, 2], 2, set()),
        (Floor(), [3, 1, 2], 3, set()),
        (Floor(), [2, 3], -1, {2, 3}),
        (Floor(3), [5, 6], 3, {5, 6}),
        (Floor(3, frozenset({5, 6}), 0.0), [4], 6, set()),
        (Floor(3), [1, 2, 3], 3, set()),
    ],
)
def test_it_rises_without_a_gap_only(floor: Floor, stored: list[int], sequence: int, ahead: set[int]) -> None:
    after = advance(floor, stored, now=0.0)
    assert (after.sequence, after.ahead) == (sequence, ahead)


def test_a_gap_is_given_up_when_what_is_above_it_comes_again_after_a_while() -> None:
    floor = advance(Floor(3), [5, 6], now=0.0)
    assert advance(floor, [5, 6], now=PATIENCE_S - 1).sequence == 3
    assert advance(floor, [7], now=PATIENCE_S + 1).sequence == 3  # nothing came again: the board has not resent yet
    assert advance(floor, [5], now=PATIENCE_S + 1) == Floor(6)


def test_the_next_gap_gets_its_own_time() -> None:
    floor = advance(Floor(3), [5, 7], now=0.0)
    floor = advance(floor, [5, 7], now=PATIENCE_S)
    assert floor.sequence == 5
    assert advance(floor, [7], now=PATIENCE_S + 1).sequence == 5
    assert advance(floor, [7], now=2 * PATIENCE_S).sequence == 7


def test_what_it_remembers_is_bounded() -> None:
    floor = advance(Floor(), range(10, 10_000), now=0.0)
    assert floor == Floor(9_999)


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 10))
def test_in_whatever_order_and_batches_it_is_the_end_of_the_run_from_the_first(stored: list[int], size: int) -> None:
    floors = Floors()
    for start in range(0, len(stored), size):
        floors.commit(floors.after({("a", "b"): stored[start : start + size]}, now=0.0))
    expected = next(n for n in range(62) if n + 1 not in stored)
    found = floors.after({("a", "b"): []}, now=0.0)["a", "b"].sequence
    assert found == (expected or -1)
