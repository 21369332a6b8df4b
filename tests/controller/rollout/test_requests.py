"""A person's verbs."""

import pytest

from litefleet_controller.rollout.view import Request
from tests.controller.rollout.simulation import World, fleet, settled, spec


def paused_world() -> World:
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}})))
    world.run(60)
    return world


def test_promote_ends_one_pause_only():
    world = paused_world()
    world.ask("promote")
    world.run(60)
    assert world.status.current_step_index == 3
    assert world.status.last_request.outcome == "promoted past step 2"
    assert world.status.last_request.by == "ada"


def test_promote_ends_a_timed_pause_early():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"pause": {"duration": "10h"}})))
    world.run(60)
    world.ask("promote")
    world.run(60)
    assert world.status.phase == "Healthy"


def test_a_request_is_consumed_once_by_its_id():
    world = paused_world()
    world.request = Request("promote", "same")
    world.run(60)
    world.request = Request("promote", "same")
    world.run(60)
    assert world.status.current_step_index == 3
    assert world.request is None


def test_a_request_survives_a_crash_before_the_commit():
    world = paused_world()
    world.crashes = iter([True, False] + [False] * 1000)
    world.ask("promote")
    world.run(60)
    assert world.status.current_step_index == 3


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("promote", "nothing to promote: the rollout is not paused"),
        ("abort", "nothing to abort: no class is on its way"),
        (
            "retry",
            "nothing to retry: the rollout is neither aborted nor paused by a failure or an inconclusive analysis",
        ),
        ("dance", "'dance' is not a verb: promote, abort or retry"),
    ],
)
def test_a_verb_that_does_not_fit_is_answered(verb, outcome):
    world = settled(World(fleet(rpi=2), spec()))
    world.run(60)
    commands = list(world.commands)
    world.ask(verb)
    assert world.status.last_request.outcome == outcome
    assert world.commands == commands
    assert world.status.phase == "Healthy"


def test_promote_of_a_rollout_paused_by_its_spec_says_what_holds_it():
    world = settled(World(fleet(rpi=2), spec({"setWeight": 50}, {"setWeight": 100}, paused=True)))
    world.ask("promote")
    assert "spec.paused" in world.status.last_request.outcome
    assert world.commands == []


def test_abort_takes_every_class_back_and_stays():
    world = settled(World(fleet(rpi=4, x86=2), spec({"setWeight": 50}, {"pause": {}})))
    world.run(60)
    world.ask("abort")
    world.run(1000)
    assert (world.status.phase, world.status.aborted) == ("Degraded", True)
    assert {b.current_version for b in world.boards} == {"digits-v1"}
    assert world.status.message == (
        "aborted; rpi: aborted by ada; back on digits-v1; x86: aborted by ada; back on digits-v1"
    )


def test_abort_before_anything_was_commanded_commands_nothing():
    world = settled(World(fleet(rpi=2), spec({"pause": {}})))
    world.run(10)
    world.ask("abort")
    world.run(100)
    assert world.commands == []
    assert world.status.aborted


def test_retry_starts_an_aborted_rollout_anew():
    world = paused_world()
    world.ask("abort")
    world.run(60)
    world.ask("retry")
    world.run(60)
    assert (world.status.aborted, world.status.current_step_index, len(world.on("digits-v2"))) == (False, 1, 1)


def test_a_failed_board_is_not_taken_for_failed_again_by_its_old_report():
    world = settled(World(fleet(rpi=1), spec({"setWeight": 50})))
    board = world.boards[0]
    board.fails = frozenset({"digits-v2"})
    world.run(5)
    world.run(0)
    assert world.status.aborted
    board.fails = frozenset()
    board.absent = ((world.t, world.t + 50),)  # its report stays what it was
    world.ask("retry")
    world.run(40)
    assert world.status.phase == "Progressing"
    world.run(100)
    assert world.status.phase == "Healthy"


def test_a_changed_spec_tries_an_aborted_target_again():
    world = paused_world()
    world.ask("abort")
    world.run(60)
    world.spec = world.spec.model_copy(update={"success_threshold": 90.0})
    world.run(60)
    assert (world.status.aborted, len(world.on("digits-v2"))) == (False, 1)


def test_pausing_and_resuming_is_no_new_try():
    world = paused_world()
    world.ask("abort")
    world.run(60)
    for paused in (True, False):
        world.generation += 1
        world.spec = world.spec.model_copy(update={"paused": paused})
        world.run(60)
    assert (world.status.aborted, world.on("digits-v2")) == (True, set())


def test_a_new_target_after_an_abort_starts_at_once():
    world = paused_world()
    world.ask("abort")
    world.run(60)
    world.target = "digits-v3"
    world.run(60)
    assert (world.status.aborted, len(world.on("digits-v3"))) == (False, 1)
