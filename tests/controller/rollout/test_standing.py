"""Where a board stands, and who gets a place in the budget."""

from datetime import timedelta

import pytest

from litefleet_controller.rollout.budget import Wish, grant
from litefleet_controller.rollout.phase import TABLE, Facts
from litefleet_controller.rollout.standing import Standing, says_failed, standing
from litefleet_controller.rollout.view import Board, Command
from tests.controller.rollout.simulation import EPOCH


def board(**more) -> Board:
    commanded = {"assigned_version": "v2", "assigned_artifact": "a2", "assigned_at": EPOCH, "assigned_by": "line-a"}
    return Board(**{"name": "pi", "device_class": "rpi", "online": True, **commanded, **more})


@pytest.mark.parametrize(
    ("seen", "after_s", "expected"),
    [
        (board(), 10, Standing.PROGRESSING),
        (board(desired_artifact="a2", phase="Verifying"), 10, Standing.PROGRESSING),
        (board(desired_artifact="a2", phase="RollingBack"), 10, Standing.PROGRESSING),
        (board(desired_artifact="a2", phase="Updated"), 10, Standing.UPDATED),
        (board(desired_artifact="a2", phase="Failed"), 10, Standing.FAILED),
        (board(desired_artifact="a1", phase="Updated"), 10, Standing.PROGRESSING),  # an old report
        (board(desired_artifact="a1", phase="Failed"), 10, Standing.PROGRESSING),
        (board(), 100, Standing.TIMED_OUT),
        (board(desired_artifact="a2", phase="Updated"), 1000, Standing.UPDATED),  # came back
        (board(assigned_at=None), 1000, Standing.PROGRESSING),
        (board(assigned_version="v1", assigned_artifact="a1"), 10, Standing.APART),
        (board(assigned_artifact="other"), 10, Standing.APART),
        (board(assigned_version="", assigned_artifact="", assigned_at=None), 10, Standing.APART),
    ],
)  # fmt: skip
def test_standing_is_read_from_the_command_and_its_own_report(seen, after_s, expected):
    assert standing(seen, "v2", "a2", EPOCH + timedelta(seconds=after_s), 100) is expected


def test_without_an_artifact_any_of_the_version_counts():
    assert standing(board(desired_artifact="a2", phase="Updated"), "v2", "", EPOCH, 100) is Standing.UPDATED


def test_a_report_of_failure_counts_for_its_own_artifact():
    seen = board(assigned_artifact="a1", desired_artifact="a2", phase="Failed")
    assert says_failed(seen, "a2")
    assert not says_failed(seen, "a1")


def wish(name: str, *, online=True, back=False, rank=0, artifact="a2", device_class="rpi") -> Wish:
    command = Command(name, "v2" if artifact else "", artifact, "", device_class)
    return Wish(Board(name, device_class, online), command, back, rank)


@pytest.mark.parametrize(
    ("wishes", "limit", "busy", "expected"),
    [
        ([wish("a"), wish("b", rank=1)], 1, (), ["a"]),
        ([wish("a", online=False), wish("b", rank=1)], 1, (), ["b"]),
        ([wish("a"), wish("b", back=True)], 1, (), ["b"]),
        ([wish("a", back=True, online=False), wish("b")], 1, (), ["b"]),
        ([wish("a"), wish("b", rank=1), wish("x", device_class="x86")], 2, (), ["a", "x"]),
        ([wish("a"), wish("b", rank=1)], 2, ("z",), ["a"]),
        ([wish("a"), wish("b", rank=1)], 1, ("b",), ["b"]),  # it has its place already
        ([wish("a"), wish("b", rank=1)], 0, (), []),
        ([wish("a", artifact="")], 0, (), ["a"]),  # emptying a slot is no update
        ([wish("a")], 1, ("y", "z"), []),  # the limit was lowered
    ],
)  # fmt: skip
def test_places_go_to_those_present_then_to_the_way_back_then_class_by_class(wishes, limit, busy, expected):
    assert [c.device for c in grant(wishes, limit=limit, busy=frozenset(busy))] == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(has_place=False, aborted=True, has_ended=True, all_complete=False, held=True), "Progressing"),
        (Facts(has_place=True, aborted=True, has_ended=True, all_complete=False, held=True), "Degraded"),
        (Facts(has_place=True, aborted=False, has_ended=True, all_complete=False, held=False), "Degraded"),
        (Facts(has_place=True, aborted=False, has_ended=True, all_complete=True, held=True), "Healthy"),
        (Facts(has_place=True, aborted=False, has_ended=False, all_complete=False, held=True), "Paused"),
        (Facts(has_place=True, aborted=False, has_ended=False, all_complete=False, held=False), "Progressing"),
    ],
)
def test_the_phase_is_the_first_row_that_holds(facts, expected):
    assert next(phase for holds, phase in TABLE if holds(facts)) == expected
