"""Jumps of the wall clock."""

import pytest

from litefleet_agent.clockwatch import ClockWatch


@pytest.mark.parametrize(("wall", "jump"), [(1_000.5, None), (1_003.0, None), (4_600.5, 3_600.0), (10.5, -990.0)])
def test_only_a_jump_is_one(wall, jump):
    watch = ClockWatch()
    assert watch.look(1_000.0, 5.0) is None
    assert watch.look(wall, 5.5) == (None if jump is None else pytest.approx(jump))


def test_it_is_told_of_once():
    watch = ClockWatch()
    watch.look(0.0, 1.0)
    assert watch.look(1_772_000_000.0, 2.0) is not None
    assert watch.look(1_772_000_001.0, 3.0) is None
