"""A clock that ran ahead while a rollout was under way, and was set right."""

from dataclasses import replace
from datetime import timedelta

import pytest

from litefleet_controller.rollout.clock import without_future
from tests.controller.rollout.simulation import SimBoard, World, fleet, settled, spec

AHEAD_S = 35 * 365 * 86_400.0


def test_a_timed_pause_that_began_under_a_fast_clock_lasts_its_time_from_when_the_clock_is_right():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"pause": {"duration": 60}})))
    right = world.t
    world.t += AHEAD_S
    world.run(20)
    assert world.status.phase == "Paused"
    world.t = right + 20
    world.run(59)
    assert world.status.phase == "Paused"
    world.run(30)
    assert world.status.phase == "Healthy"
    assert len(world.on("digits-v2")) == 4


def test_a_board_that_was_commanded_under_a_fast_clock_and_stays_away_is_given_up_after_its_time():
    away = SimBoard("rpi-0", "rpi", absent=((1000.0, AHEAD_S * 3),))
    world = settled(World([away, *fleet(rpi=3)[1:]], replace_timeout(spec(), 100)))
    right = max(world.t, 1001.0)
    world.t = right + AHEAD_S
    world.run(20)
    world.t = right + 1
    world.run(101)
    assert world.status.classes[0].counts.timed_out == 1


def replace_timeout(whole, seconds):
    return whole.model_copy(update={"device_timeout_seconds": seconds})


def test_a_view_of_the_past_alone_is_left_as_it_is():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"pause": {}})))
    world.run(30)
    view = world.view()
    assert without_future(view, world.now) is view


@pytest.mark.parametrize("field", ["started_at", "step_started_at"])
def test_what_is_said_to_begin_later_begins_now(field):
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"pause": {}})))
    ahead = world.now + timedelta(days=9000)
    view = replace(world.view(), status=world.status.model_copy(update={field: ahead}))
    assert getattr(without_future(view, world.now).status, field) == world.now
