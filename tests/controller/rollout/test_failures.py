"""Boards that fail, and the way back."""

import pytest

from litefleet_controller.rollout.cohort import Front
from litefleet_controller.rollout.failures import commonest_code, is_lost
from tests.controller.rollout.simulation import SimBoard, World, fleet, settled, spec


def failing(boards: list[SimBoard], *names: str, version: str = "digits-v2") -> None:
    for board in boards:
        if not names or board.name in names:
            board.fails = frozenset({version})


def front(updated: int, progressing: int, failed: int, timed_out: int) -> Front:
    def some(n: int):
        return tuple(SimBoard(f"b{i}", "rpi").seen(0) for i in range(n))

    total = some(updated + progressing + failed + timed_out)
    return Front("rpi", total, len(total), some(updated), some(progressing), some(failed), some(timed_out), (), (), ())


@pytest.mark.parametrize(
    ("updated", "progressing", "failed", "timed_out", "threshold", "expected"),
    [
        (0, 0, 1, 0, 100, True),
        (9, 0, 1, 0, 100, True),
        (0, 9, 1, 0, 100, True),  # certain before the others are done
        (9, 0, 1, 0, 90, False),
        (0, 9, 1, 0, 90, False),
        (8, 0, 2, 0, 90, True),
        (1, 0, 1, 8, 60, True),  # timed out ones count on neither side
        (2, 0, 1, 8, 60, False),
        (0, 0, 0, 5, 100, False),
        (0, 0, 3, 0, 0, False),
    ],
)
def test_a_class_is_lost_when_the_threshold_is_out_of_reach(
    updated, progressing, failed, timed_out, threshold, expected
):
    assert is_lost(front(updated, progressing, failed, timed_out), threshold) is expected


def test_the_cause_is_the_commonest_code():
    boards = [SimBoard(f"b{i}", "rpi", code=c) for i, c in enumerate(["Timeout", "BadOutput", "BadOutput"])]
    for board in boards:
        board.error = board.code
    assert commonest_code([b.seen(0) for b in boards]) == "BadOutput"


def test_a_failing_class_goes_back_alone():
    boards = fleet(rpi=4, x86=4)
    world = settled(World(boards, spec({"setWeight": 25}, {"setWeight": 50}, {"pause": {"duration": 10}})))
    failing([b for b in boards if b.device_class == "x86"])
    world.run(200)
    assert (world.entry("rpi").state, world.entry("x86").state) == ("Complete", "Aborted")
    assert world.entry("x86").cause == "GoldenMismatch"
    assert {b.version for b in boards if b.device_class == "x86"} == {"digits-v1"}
    assert sum(c.device_class == "x86" and c.version == "digits-v2" for _, c in world.commands) == 1
    assert world.status.phase == "Degraded"
    assert not world.status.aborted
    assert world.status.message.endswith(
        "1 of 1 commanded boards failed (GoldenMismatch on "
        f"{next(c.device for _, c in world.commands if c.device_class == 'x86')}); 100% must succeed; back on digits-v1"
    )


def test_when_all_classes_fail_the_rollout_is_aborted_and_stays_so():
    boards = fleet(rpi=3)
    world = settled(World(boards, spec({"setWeight": 30})))
    failing(boards)
    world.run(100)
    assert (world.status.phase, world.status.aborted) == ("Degraded", True)
    assert world.on("digits-v1") == {b.name for b in boards}
    count = len(world.commands)
    world.run(10_000)
    assert len(world.commands) == count


def test_failures_within_the_threshold_are_borne():
    boards = fleet(rpi=10)
    world = settled(World(boards, spec(successThreshold="90%")))
    failing(boards, "rpi-3")
    world.run(100)
    assert world.status.phase == "Healthy"
    assert world.status.message == "digits-v2 is on 9 of 10 boards; rpi-3 failed"


def test_a_first_version_that_fails_is_taken_off_again():
    boards = fleet(rpi=4)
    failing(boards, version="digits-v1")
    world = World(boards, spec({"setWeight": 50}))
    world.run(100)
    assert world.status.aborted
    assert {b.version for b in boards} == {""}
    assert "there is no version to go back to, so its boards serve no model" in world.status.message


def test_on_failure_pause_pauses_until_someone_promotes():
    boards = fleet(rpi=4)
    world = settled(World(boards, spec({"setWeight": 50}, onFailure="Pause")))
    failing(boards, *[b.name for b in boards][:1])
    world.run(1000)
    assert (world.status.phase, world.status.pause_reason) == ("Paused", "Failure")
    assert "promote goes on" in world.status.message
    world.ask("promote")
    world.run(100)
    assert (world.status.phase, world.entry("rpi").counts.failed) == ("Healthy", 1)


def test_after_a_promote_further_failures_pause_again():
    boards = fleet(rpi=6)
    world = settled(World(boards, spec({"setWeight": 50}, onFailure="Pause")))
    failing(boards)
    world.run(100)
    world.ask("promote")
    world.run(100)
    assert world.status.pause_reason == "Failure"
    assert world.entry("rpi").counts.failed > 3


def test_on_failure_pause_then_abort_goes_back():
    boards = fleet(rpi=4)
    world = settled(World(boards, spec({"setWeight": 50}, onFailure="Pause")))
    failing(boards)
    world.run(100)
    world.ask("abort")
    world.run(100)
    assert world.on("digits-v1") == {b.name for b in boards}
    assert (world.status.phase, world.status.pause_reason) == ("Degraded", "")


def test_on_failure_pause_then_retry_gives_failed_boards_another_chance():
    boards = fleet(rpi=4)
    world = settled(World(boards, spec({"setWeight": 50}, onFailure="Pause")))
    failing(boards)
    world.run(100)
    for board in boards:
        board.fails = frozenset()
    world.ask("retry")
    world.run(100)
    assert world.status.phase == "Healthy"
    assert {b.current_version for b in boards} == {"digits-v2"}


def test_a_board_on_its_way_to_another_chance_keeps_its_place():
    boards = fleet(rpi=4)
    world = settled(World(boards, spec({"setWeight": 25}, {"pause": {}}, onFailure="Pause")))
    failing(boards)
    world.run(100)
    (canary,) = (b for b in boards if b.version == "digits-v2")
    for board in boards:
        board.fails = frozenset()
    canary.mute = True  # it is online, but takes its time to report
    world.ask("retry")
    world.run(40)
    assert world.on("digits-v2") == set()
    assert "waiting for 1 of 1 boards of rpi to finish" in world.status.message
    canary.mute = False
    world.run(40)
    assert world.on("digits-v2") == {canary.name}


def test_the_way_back_is_not_held_by_spec_paused():
    boards = fleet(rpi=4)
    world = settled(World(boards, spec({"setWeight": 50})))
    failing(boards)
    world.run(2)
    world.spec = world.spec.model_copy(update={"paused": True})
    world.run(100)
    assert world.on("digits-v1") == {b.name for b in boards}


def test_the_way_back_keeps_the_budget():
    boards = fleet(rpi=6)
    world = settled(World(boards, spec({"setWeight": 100}, {"pause": {}}, max_unavailable=2)))
    world.run(100)
    world.ask("abort")
    busy = []
    world.observers.append(
        lambda w, before, decision: busy.append(
            sum(b.desired != b.artifact or b.phase == "Preparing" for b in w.boards)
        )
    )
    world.run(100)
    assert max(busy) == 2
    assert {b.current_version for b in boards} == {"digits-v1"}
