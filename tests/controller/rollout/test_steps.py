"""What moves a rollout on, and what it says meanwhile."""

from dataclasses import replace

import pytest

from litefleet_controller.rollout.cohort import cohort_key, quota, weight_at
from litefleet_controller.rollout.decide import decide, needs_evidence
from litefleet_controller.rollout.view import VersionForClass
from tests.controller.rollout.simulation import SimBoard, World, artifact_of, fleet, settled, spec

PENDING = VersionForClass("Converting", message="converting int8, 40 %")


def condition(world: World, type_: str) -> str:
    return next(c.status for c in world.status.conditions if c.type == type_)


@pytest.mark.parametrize(
    ("weight", "total", "expected"),
    [(0, 5, 0), (1, 5, 1), (5, 3, 1), (34, 3, 2), (33, 3, 1), (50, 3, 2), (100, 3, 3), (50, 0, 0), (5, 100_000, 5000)],
)
def test_a_weight_rounds_up_and_is_at_least_one_board(weight, total, expected):
    assert quota(weight, total) == expected


@pytest.mark.parametrize(("index", "expected"), [(None, 0), (0, 0), (1, 10), (2, 10), (3, 50), (4, 100), (9, 100)])
def test_the_weight_is_that_of_the_last_set_weight_and_everyone_after_the_last_step(index, expected):
    steps = spec({"pause": {"duration": 1}}, {"setWeight": 10}, {"pause": {}}, {"setWeight": 50}).strategy.canary.steps
    assert weight_at(steps, index) == expected


def test_the_cohort_order_hangs_on_the_rollout_and_the_board_alone():
    assert cohort_key("a", "pi-1") == cohort_key("a", "pi-1") != cohort_key("b", "pi-1")


def test_without_steps_everyone_is_commanded_at_once_within_the_budget():
    world = World(fleet(rpi=8), spec(max_unavailable=3))
    world.settle()
    assert len(world.on("digits-v1")) == 3
    world.run(60)
    assert world.status.phase == "Healthy"
    assert len(world.on("digits-v1")) == 8


def test_each_class_gets_its_share_of_a_weight():
    world = settled(World(fleet(rpi=10, x86=3), spec({"setWeight": 20}, {"pause": {}})))
    world.run(60)
    assert {n.split("-")[0] for n in world.on("digits-v2")} == {"rpi", "x86"}
    assert len(world.on("digits-v2")) == 2 + 1


def test_boards_of_an_earlier_step_stay_in():
    world = settled(
        World(fleet(rpi=10), spec({"setWeight": 20}, {"pause": {"duration": 5}}, {"setWeight": 50}, {"pause": {}}))
    )
    world.run(8)
    first = world.on("digits-v2")
    world.run(60)
    assert first < world.on("digits-v2")
    assert len([c for _, c in world.commands]) == 5


def test_a_timed_pause_ends_by_itself_and_says_when():
    world = settled(World(fleet(rpi=3), spec({"setWeight": 30}, {"pause": {"duration": "10m"}})))
    world.run(60)
    assert (world.status.phase, world.status.pause_reason) == ("Paused", "Step")
    assert world.status.message == "step 2 of 2: pause until 2026-03-01T12:11:05Z"
    assert world.decide().requeue_after_s == pytest.approx(665 - world.t)
    world.run(700)
    assert world.status.phase == "Healthy"


def test_an_open_pause_waits_for_promote():
    world = settled(World(fleet(rpi=3), spec({"setWeight": 30}, {"pause": {}})))
    world.run(10_000)
    assert world.status.message == "step 2 of 2: paused until someone promotes"
    assert world.decide().requeue_after_s is None
    world.ask("promote")
    world.run(60)
    assert world.status.phase == "Healthy"


def test_the_message_names_the_absent_board():
    boards = fleet(rpi=2)
    world = settled(World(boards, spec({"setWeight": 100}, {"pause": {}})))
    boards[1].absent = ((0, 10_000),)
    world.run(60)
    assert world.status.message == (
        "step 1 of 2 (setWeight 100): waiting for 1 of 2 boards of rpi to finish (rpi-1 is offline)"
    )


def test_the_rollout_waits_until_conversion_is_decided_for_every_class():
    world = World(fleet(rpi=2, x86=2), spec(), conversions={("digits-v1", "x86"): PENDING})
    world.run(60)
    assert not world.commands
    assert world.status.current_step_index is None
    assert world.status.message == "waiting for conversion: x86: converting int8, 40 %"
    assert world.entry("x86").state == "Waiting"
    world.conversions.clear()
    world.run(60)
    assert world.status.phase == "Healthy"


@pytest.mark.parametrize("state", ["Refused", "Failed"])
def test_a_class_whose_conversion_is_refused_stays_and_the_others_go_on(state):
    world = settled(World(fleet(rpi=2, x86=2), spec({"setWeight": 50})))
    world.conversions["digits-v2", "x86"] = VersionForClass(
        state, code="ParityTooLow", message="agreement 0.41 under 0.95"
    )
    world.run(60)
    assert world.on("digits-v2") == {"rpi-0", "rpi-1"}
    assert world.on("digits-v1") == {"x86-0", "x86-1"}
    assert world.status.phase == "Degraded"
    assert world.entry("x86").state == "Refused"
    assert world.status.message == (
        "digits-v2 is on 2 of 2 boards of rpi; x86 refused digits-v2 (ParityTooLow: agreement 0.41 under 0.95);"
        " its boards stay on digits-v1"
    )
    assert [(r.device_class, r.outcome) for r in world.status.history if r.version == "digits-v2"] == [
        ("x86", "Refused"),
        ("rpi", "Complete"),
    ]


def test_when_every_class_refuses_nothing_is_commanded():
    refused = VersionForClass("Refused", code="ParityTooLow", message="agreement 0.41")
    world = World(fleet(rpi=2), spec(), conversions={("digits-v1", "rpi"): refused})
    world.run(60)
    assert (world.status.phase, world.commands) == ("Degraded", [])


def test_a_lower_rung_is_explained():
    lower = VersionForClass(
        "Ready", artifact="sha256:f16", recipe="float16", refusals=("int8 was refused: agreement 0.41",)
    )
    world = World(fleet(rpi=1), spec(), conversions={("digits-v1", "rpi"): lower})
    world.run(60)
    assert world.entry("rpi").recipe == "float16"
    assert world.entry("rpi").message == "float16, because int8 was refused: agreement 0.41"


def test_no_board_is_a_condition_and_it_goes_on_when_one_appears():
    world = World([], spec())
    world.run(60)
    assert (world.status.phase, condition(world, "NoDevices")) == ("Progressing", "True")
    assert world.status.message == "the selector matches no board; it goes on when one appears"
    world.boards = fleet(rpi=1)
    world.run(60)
    assert (world.status.phase, condition(world, "NoDevices")) == ("Healthy", "False")


def test_no_model_is_a_condition_and_it_goes_on_when_one_appears():
    world = World(fleet(rpi=1), spec(), target="")
    world.run(60)
    assert (world.status.phase, condition(world, "ModelAvailable")) == ("Progressing", "False")
    assert world.status.message == "model digits does not exist"
    world.target = "digits-v1"
    world.run(60)
    assert condition(world, "Healthy") == "True"


def test_a_class_that_does_not_exist_is_a_condition_and_it_goes_on_when_it_appears():
    world = World(fleet(rpi=1), spec(), conversions={("digits-v1", "rpi"): VersionForClass("Pending")})
    world.missing_classes = frozenset({"rpi"})
    world.run(60)
    assert (world.status.phase, condition(world, "ClassesAvailable")) == ("Progressing", "False")
    assert "DeviceClass 'rpi' does not exist (NotFound); it goes on when it appears" in world.status.message
    world.missing_classes = frozenset()
    world.conversions.clear()
    world.run(60)
    assert (condition(world, "Healthy"), condition(world, "ClassesAvailable")) == ("True", "True")


def test_contested_boards_are_left_alone_and_the_rest_goes_on():
    boards = fleet(rpi=3)
    boards[0].conflict = "line-b"
    world = World(boards, spec())
    world.run(60)
    assert world.on("digits-v1") == {"rpi-1", "rpi-2"}
    assert condition(world, "Conflict") == "True"
    assert world.status.message == "digits-v1 is on 2 of 2 boards; rpi-0 claimed by line-b"


def test_when_every_board_is_contested_it_waits():
    boards = fleet(rpi=1)
    boards[0].conflict = "line-b"
    world = World(boards, spec())
    world.run(60)
    assert (world.status.phase, world.commands) == ("Progressing", [])
    boards[0].conflict = ""
    world.run(60)
    assert world.status.phase == "Healthy"


def test_an_absent_board_never_blocks_the_others():
    boards = fleet(rpi=4)
    world = settled(
        World(boards, spec({"setWeight": 25}, {"setWeight": 50}, max_unavailable=1, deviceTimeoutSeconds=600))
    )
    first = min(boards, key=lambda b: cohort_key("0d0e", b.name))
    first.absent = ((0, 100_000),)
    world.run(120)
    assert {b.name for b in boards if b.current_version == "digits-v2"} == {b.name for b in boards if b is not first}
    world.run(700)
    assert world.status.phase == "Healthy"
    assert world.entry("rpi").counts.timed_out == 1
    assert world.status.message == f"digits-v2 is on 3 of 4 boards; {first.name} timed out"


def test_a_timed_out_board_is_counted_when_it_comes_back():
    boards = fleet(rpi=2)
    world = settled(World(boards, spec(deviceTimeoutSeconds=100)))
    boards[0].absent = ((0, 1000),)
    world.run(300)
    assert world.entry("rpi").counts.timed_out == 1
    world.run(1000)
    assert (world.entry("rpi").counts.timed_out, world.entry("rpi").counts.updated) == (0, 2)


def test_a_class_without_any_updated_board_is_not_complete():
    boards = fleet(rpi=2, x86=1)
    world = settled(World(boards, spec({"setWeight": 50}, deviceTimeoutSeconds=100)))
    boards[2].absent = ((0, 5000),)
    world.run(1000)
    assert (world.entry("rpi").state, world.entry("x86").state) == ("Complete", "Progressing")
    assert world.status.message == "last step (everyone): no board of x86 is updated: x86-0 timed out"
    world.run(5000)
    assert world.status.phase == "Healthy"


def test_the_budget_holds_over_all_classes():
    world = settled(World(fleet(rpi=4, x86=4), spec(max_unavailable=2)))
    peak = []
    world.observers.append(
        lambda w, before, decision: peak.append(
            sum(b.desired != b.artifact or b.phase == "Preparing" for b in w.boards)
        )
    )
    world.run(200)
    assert max(peak) == 2
    assert world.status.phase == "Healthy"


def test_a_budget_of_nothing_says_so():
    world = World(fleet(rpi=2), spec(max_unavailable=0))
    world.run(60)
    assert not world.commands
    assert world.status.message.endswith("maxUnavailable is 0, so no board may be updated")


def test_spec_paused_commands_nothing_and_resume_goes_on_exactly():
    world = settled(World(fleet(rpi=10), spec({"setWeight": 20}, {"pause": {"duration": 5}}, {"setWeight": 50})))
    world.run(2)
    going, world.spec = world.spec, world.spec.model_copy(update={"paused": True})
    world.run(1000)
    assert (world.status.phase, world.status.pause_reason) == ("Paused", "Spec")
    assert (len(world.on("digits-v2")), world.status.current_step_index) == (2, 0)
    assert world.entry("rpi").counts.updated == 2
    world.spec = going
    world.run(100)
    assert world.status.phase == "Healthy"


def test_boards_that_join_later_get_the_completed_version_directly():
    world = settled(World(fleet(rpi=2), spec({"setWeight": 50}, {"pause": {"duration": 5}})))
    world.run(60)
    world.boards.append(SimBoard("rpi-9", "rpi"))
    world.run(60)
    assert world.boards[-1].current_version == "digits-v2"
    assert world.status.phase == "Healthy"


def test_boards_that_join_during_a_step_widen_the_class_only():
    world = settled(World(fleet(rpi=2), spec({"setWeight": 50}, {"pause": {}})))
    world.run(60)
    world.boards += [SimBoard(f"rpi-{i}", "rpi") for i in (7, 8)]
    world.run(60)
    assert len(world.on("digits-v2")) == 2


def test_a_class_that_joins_late_is_staged_at_the_current_weight():
    world = settled(World(fleet(rpi=2), spec({"setWeight": 50}, {"pause": {}})))
    world.run(60)
    world.boards += fleet(x86=4)
    world.run(60)
    assert len([n for n in world.on("digits-v2") if n.startswith("x86")]) == 2
    assert world.status.message == "step 2 of 2: paused until someone promotes"


def test_a_new_target_supersedes_and_keeps_stable():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 50}, {"pause": {}})))
    world.run(60)
    world.target = "digits-v3"
    world.run(60)
    assert world.entry("rpi").stable == "digits-v1"
    assert [r.outcome for r in world.status.history if r.version == "digits-v2"] == ["Superseded"]
    assert len(world.on("digits-v3")) == 2
    assert world.on("digits-v2") == set()  # the cohort is the same
    assert world.status.current_step_index == 1


def test_going_back_to_the_stable_version_skips_the_steps():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 50}, {"pause": {}})))
    world.run(60)
    world.target = "digits-v1"
    world.settle()
    assert world.status.phase == "Progressing"
    world.run(60)
    assert (world.status.phase, len(world.on("digits-v1"))) == ("Healthy", 4)


def test_a_class_new_to_the_rollout_goes_back_to_what_its_boards_already_serve():
    boards = fleet(rpi=2)
    for board in boards:
        board.version = board.current_version = "digits-v1"
        board.artifact = board.current = board.desired = artifact_of("digits-v1", "rpi")
        board.phase = "Updated"
    world = World(boards, spec({"setWeight": 50}, {"pause": {}}), target="digits-v2")
    world.run(60)
    world.ask("abort")
    world.run(60)
    assert {b.current_version for b in boards} == {"digits-v1"}


def serving(boards: list, version: str) -> None:
    for board in boards:
        board.version = board.current_version = version
        board.artifact = board.current = board.desired = artifact_of(version, board.device_class)
        board.phase = "Updated"


def test_a_new_rollout_over_boards_that_serve_the_target_already_has_nothing_to_do():
    boards = fleet(rpi=2)
    serving(boards, "digits-v1")
    world = World(boards, spec({"setWeight": 50}, {"pause": {}}), target="digits-v1")
    world.run(60)
    assert (world.status.phase, world.commands) == ("Healthy", [])


def test_a_rollout_that_takes_over_boards_with_the_target_on_them_has_nothing_to_do():
    boards = fleet(rpi=2)
    serving(boards, "digits-v1")
    for board in boards:
        board.conflict = "older"
    world = World(boards, spec({"setWeight": 50}, {"pause": {}}), target="digits-v1")
    world.run(60)
    assert world.status.phase == "Progressing"
    for board in boards:
        board.conflict = ""
    world.run(60)
    assert (world.status.phase, world.commands) == ("Healthy", [])


def test_commands_name_the_stable_artifact_as_fallback():
    world = settled(World(fleet(rpi=1), spec()))
    world.run(60)
    (command,) = [c for _, c in world.commands]
    assert command.fallback == artifact_of("digits-v1", "rpi")


def test_the_first_version_has_no_fallback():
    world = World(fleet(rpi=1), spec())
    world.run(60)
    assert [c.fallback for _, c in world.commands] == [""]


def test_the_history_keeps_as_many_versions_as_asked():
    world = settled(World(fleet(rpi=1, x86=1), spec(revisionHistoryLimit=2)))
    for version in ("digits-v2", "digits-v3", "digits-v4"):
        world.target = version
        world.run(60)
    assert [r.version for r in world.status.history] == ["digits-v3"] * 2 + ["digits-v4"] * 2


def test_steps_that_were_taken_out_of_the_spec_don_t_confuse_it():
    world = settled(World(fleet(rpi=4), spec({"setWeight": 25}, {"setWeight": 50}, {"pause": {}})))
    world.run(60)
    assert world.status.current_step_index == 2
    world.spec = spec({"setWeight": 25})
    world.run(60)
    assert (world.status.phase, world.status.current_step_index) == ("Healthy", 1)


def test_a_variant_that_is_made_anew_goes_to_the_boards():
    world = settled(World(fleet(rpi=2), spec()))
    world.run(60)
    world.conversions["digits-v2", "rpi"] = VersionForClass("Ready", artifact="sha256:again", recipe="int8")
    world.run(60)
    assert {b.current for b in world.boards} == {"sha256:again"}


def test_nothing_to_do_gives_the_stored_status_and_no_commands():
    world = settled(World(fleet(rpi=3), spec({"setWeight": 30}, {"pause": {}})))
    world.run(60)
    decision = decide(replace(world.view(), status=world.status), world.now)
    assert (decision.status, decision.commands, decision.notices) == (world.status, (), ())
    assert needs_evidence(world.view(), world.now) == []


def test_the_notices_tell_the_transitions_once():
    world = settled(World(fleet(rpi=3), spec({"setWeight": 30}, {"pause": {}})))
    world.run(60)
    world.run(60)
    assert [n.reason for n in world.notices] == ["RolloutStarted", "StepStarted", "StepStarted", "PausedStep"]


def test_conditions_keep_their_transition_time_while_they_hold():
    world = settled(World(fleet(rpi=3), spec({"setWeight": 30}, {"pause": {"duration": 60}}, {"setWeight": 60})))
    world.run(20)
    healthy = next(c for c in world.status.conditions if c.type == "Healthy")
    world.run(10)
    assert next(c for c in world.status.conditions if c.type == "Healthy") == healthy


def test_observed_generation_follows():
    world = settled(World(fleet(rpi=1), spec()))
    world.generation = 7
    world.run(60)
    assert world.status.observed_generation == 7
