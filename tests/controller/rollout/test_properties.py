"""What holds for any fleet and any schedule, whatever crashes when."""

import itertools
import random
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litefleet_controller.resources.quantities import percent_of
from litefleet_controller.resources.rollout import ModelRolloutStatus
from litefleet_controller.rollout.classes import staged
from litefleet_controller.rollout.cohort import muster, quota, weight_at
from litefleet_controller.rollout.standing import Standing, assigned_standing
from litefleet_controller.rollout.view import Decision, Request
from tests.controller.rollout.simulation import SimBoard, World, settled, spec

HORIZON = 5000.0

seconds = st.sampled_from([1.0, 5.0, 40.0, 900.0])
absences = st.one_of(
    st.just(()),
    st.just(((0.0, 1e8),)),
    st.tuples(st.floats(60, 400), st.floats(10, 600)).map(lambda s: ((s[0], s[0] + s[1]),)),
    st.floats(60, 120).map(lambda t: tuple((t + 20 * i, t + 20 * i + 7) for i in range(10))),  # flapping
)


@st.composite
def fleets(draw) -> list[SimBoard]:
    boards = []
    for device_class in draw(st.sampled_from([("rpi",), ("rpi", "x86"), ("arm", "rpi", "x86")])):
        for i in range(draw(st.integers(1, 6))):
            fails = frozenset({"digits-v2"}) if draw(st.integers(0, 9)) == 0 else frozenset()
            boards.append(SimBoard(f"{device_class}-{i}", device_class, draw(seconds), fails, draw(absences)))
    return boards


@st.composite
def specs(draw):
    weights = sorted(draw(st.lists(st.integers(0, 100), max_size=3)))
    steps: list[dict] = []
    for weight in weights:
        steps.append({"setWeight": weight})
        if draw(st.booleans()):
            steps.append({"pause": {"duration": draw(st.integers(0, 120))}})
    return spec(
        *steps,
        max_unavailable=draw(st.sampled_from([1, 2, "10%", "50%", "100%"])),
        deviceTimeoutSeconds=draw(st.sampled_from([30, 200, 1000])),
        successThreshold=draw(st.sampled_from([100, 80, 50])),
        onFailure=draw(st.sampled_from(["Rollback", "Rollback", "Pause"])),
    )


def start(boards: list[SimBoard], the_spec, seed: int) -> World:
    """v1 everywhere, then the characters take effect and v2 begins; a third of the commits die."""
    characters = [(b.seconds, b.absent) for b in boards]
    for board in boards:
        board.seconds, board.absent = 1.0, ()
    world = settled(World(boards, the_spec))
    for board, (duration, absent) in zip(boards, characters, strict=True):
        board.seconds, board.absent = duration, absent
    rng = random.Random(seed)
    world.crashes = iter(lambda: rng.random() < 0.33, None)
    world.observers += [keeps_budget, keeps_weights, keeps_steps, says_something]
    return world


def keeps_budget(world: World, before: ModelRolloutStatus, decision: Decision) -> None:
    timeout = world.spec.device_timeout_seconds
    busy = [b for b in world.boards if assigned_standing(b.seen(world.t), world.now, timeout) is Standing.PROGRESSING]
    assert len(busy) <= percent_of(world.spec.strategy.canary.max_unavailable, len(world.boards))


def keeps_weights(world: World, before: ModelRolloutStatus, decision: Decision) -> None:
    """What is commanded anew stays within the weight; what was commanded before (a retry, an edited spec) stays."""
    scene_fleet = muster(world.view())
    forward = {c.device_class for c in decision.commands if c.version == world.target}
    weight = weight_at(world.spec.strategy.canary.steps, world.status.current_step_index)
    for entry in (e for e in staged(world.status, scene_fleet) if e.device_class in forward):
        boards = scene_fleet.by_class[entry.device_class]
        assert sum(b.assigned_version == world.target for b in boards) <= quota(weight, len(boards))


def keeps_steps(world: World, before: ModelRolloutStatus, decision: Decision) -> None:
    after = world.status
    is_anew = (before.started_at, before.target_version) != (after.started_at, after.target_version)
    if is_anew or before.current_step_index == after.current_step_index:
        return
    old = -1 if before.current_step_index is None else before.current_step_index
    jumped_to_the_end = after.current_step_index == len(world.spec.strategy.canary.steps) and not staged(
        after, muster(world.view())
    )
    assert after.current_step_index == old + 1 or jumped_to_the_end


def says_something(world: World, before: ModelRolloutStatus, decision: Decision) -> None:
    assert world.status.message
    assert world.status.phase is not None
    if not decision.commands and decision.status == before:
        assert not decision.notices


def _request(verb: str):
    def ask(world: World) -> None:
        world.request = Request(verb, f"{verb}-1", "ada")

    return ask


SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20))
def test_a_rollout_ends_or_says_what_it_waits_for(boards, the_spec, seed):
    world = start(boards, the_spec, seed)
    world.run(HORIZON + 40_000)
    status = world.status
    if status.phase == "Progressing":
        # Only a class of which no board is there keeps it from ending.
        stuck = [c for c in status.classes if c.state == "Progressing"]
        assert stuck
        assert all(not c.counts.updated for c in stuck), status.message
        assert any(b.name in status.message for b in boards), status.message
    elif status.phase == "Paused":
        assert status.pause_reason == "Failure"
    else:
        assert {c.state for c in status.classes} <= {"Complete", "Aborted"}
        for entry in status.classes:
            for board in (b for b in boards if b.device_class == entry.device_class):
                assert board.version == entry.stable


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20), st.floats(0, 600))
def test_abort_leads_back_to_stable_from_anywhere(boards, the_spec, seed, after):
    world = start(boards, the_spec, seed)
    world.run(after)
    complete = {c.device_class for c in world.status.classes if c.state == "Complete"}
    world.events.append((world.t + 1, _request("abort")))
    world.run(HORIZON + 40_000)
    for board in boards:
        entry = world.entry(board.device_class)
        assert board.version == entry.stable
        if board.device_class not in complete and entry.state == "Aborted":
            assert entry.stable == "digits-v1"


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20), st.floats(0, 300))
def test_a_new_target_takes_over_from_anywhere(boards, the_spec, seed, after):
    world = start(boards, the_spec, seed)
    world.run(after)
    for board in boards:
        board.absent = ()
    world.target = "digits-v3"
    world.run(HORIZON + 40_000)
    assert world.status.phase == "Healthy"
    assert {b.current_version for b in boards} == {"digits-v3"}


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20), st.floats(0, 300), st.integers(1, 5))
def test_boards_that_join_at_any_time_end_up_with_their_class(boards, the_spec, seed, after, joining):
    world = start(boards, the_spec, seed)
    late = [SimBoard(f"late-{i}", boards[i % len(boards)].device_class) for i in range(joining)]
    world.events.append((world.t + after, lambda w: w.boards.extend(late)))
    world.observers.remove(keeps_budget)  # the percentage grows with the fleet
    world.run(HORIZON + 40_000)
    for board in late:
        entry = world.entry(board.device_class)
        if entry.state in ("Complete", "Aborted") and world.status.pause_reason == "":
            assert board.version == entry.stable, world.status.message


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20))
def test_retry_after_every_failure_ends_healthy_once_boards_are_well(boards, the_spec, seed):
    world = start(boards, the_spec, seed)
    world.run(HORIZON)
    for board in boards:
        board.absent, board.fails = (), frozenset()
    world.events.append((world.t + 1, _request("retry")))
    world.run(HORIZON + 40_000)
    assert world.status.phase == "Healthy", world.status.message


def test_time_alone_never_changes_a_decision_before_it_said_so():
    boards = [SimBoard(f"rpi-{i}", "rpi", 40.0) for i in range(3)]
    world = start(boards, spec({"setWeight": 30}, {"pause": {"duration": 300}}, deviceTimeoutSeconds=100), 1)
    world.crashes = itertools.repeat(False)
    world.run(50)
    decision = world.decide()
    assert decision.requeue_after_s is not None
    world.t += decision.requeue_after_s - timedelta(milliseconds=1).total_seconds()
    assert world.decide().status == world.status


acts = st.lists(
    st.tuples(
        st.floats(0, 900),
        st.sampled_from(["promote", "abort", "retry", "pause", "resume", "digits-v2", "digits-v3", "digits-v1"]),
    ),
    max_size=8,
)


@SETTINGS
@given(fleets(), specs(), st.integers(0, 2**20), acts)
def test_whatever_people_do_the_invariants_hold_and_it_comes_to_rest(boards, the_spec, seed, done):
    world = start(boards, the_spec, seed)
    for i, (after, act) in enumerate(done):
        world.events.append((world.t + after, _act(act, i)))
    world.run(HORIZON + 40_000)
    world.spec = world.spec.model_copy(update={"paused": False})
    for board in boards:
        board.absent, board.fails = (), frozenset()
    world.run(HORIZON + 40_000)
    if world.status.pause_reason == "Failure":
        world.ask("promote")
        world.run(HORIZON + 40_000)
    assert world.status.phase in ("Healthy", "Degraded"), world.status.message
    for board in boards:
        assert board.version == world.entry(board.device_class).stable


def _act(act: str, i: int):
    def do(world: World) -> None:
        if act in ("pause", "resume"):
            world.spec = world.spec.model_copy(update={"paused": act == "pause"})
            world.generation += 1
        elif act.startswith("digits-"):
            world.target = act
        else:
            world.request = Request(act, f"{act}-{i}", "ada")

    return do
