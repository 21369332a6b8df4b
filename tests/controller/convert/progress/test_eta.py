"""How long a conversion still takes, by what earlier ones took; and what is said of one under way."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import Progress
from litefleet_controller.convert.progress.eta import Course, Courses, Kind, seconds_left, whole_request
from litefleet_controller.convert.progress.reporting import Report
from litefleet_controller.convert.workers.tasks import Stage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INT8 = Kind("int8", "keras", 1_000_000)
COLD = ("loading", "freezing", "evaluating", "calibrating", "quantizing", "evaluating")


def course(*seconds: float, kind: Kind = INT8, stages: Sequence[str] = COLD) -> Course:
    return Course(kind, tuple(zip(stages, seconds, strict=True)))


KNOWN = [course(10, 4, 2, 1, 1, 2), course(12, 4, 2, 1, 1, 2), course(30, 4, 2, 1, 1, 2)]
WARM = course(1, 1, 2, stages=("calibrating", "quantizing", "evaluating"))


@pytest.mark.parametrize(
    ("passed", "left"),
    [
        ((), 22),
        (("loading",), 22),
        (("loading", "freezing"), 10),
        (COLD, 2),
        (("calibrating",), 4),
        (("loading", "freezing", "evaluating", "quantizing"), 3),
        (("freezing", "loading"), None),
        (("pruning",), None),
    ],
)
def test_what_is_left_is_the_median_of_what_such_courses_took_from_there_on(
    passed: Sequence[str], left: float | None
) -> None:
    assert seconds_left(KNOWN, INT8, passed) == left


def test_courses_through_the_very_same_stages_count_before_those_through_more() -> None:
    quicker = course(1, 1, 1, stages=("calibrating", "quantizing", "evaluating"))
    assert seconds_left([quicker, *KNOWN], INT8, ("calibrating",)) == 3
    assert seconds_left([quicker, *KNOWN], INT8, ("loading",)) == 22


@pytest.mark.parametrize(
    "other", [Kind("float16", "keras", 1_000_000), Kind("int8", "tflite", 1_000_000), Kind("int8", "keras", 5_000_000)]
)
def test_another_recipe_format_or_size_is_not_compared_with(other: Kind) -> None:
    assert seconds_left(KNOWN, other, ("loading",)) is None


def test_only_the_newest_courses_count() -> None:
    assert seconds_left([*[course(1000, 0, 0, 0, 0, 0)] * 9, *[course(1, 0, 0, 0, 0, 0)] * 5], INT8, ("loading",)) == 1


def test_several_recipes_take_as_long_as_all_of_them_and_one_unknown_makes_all_unknown() -> None:
    assert whole_request(3.0, [2.0, 1.0]) == 6.0
    assert whole_request(3.0, [2.0, None]) is None
    assert whole_request(None, []) is None


def test_courses_survive_a_restart_and_a_file_that_is_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "courses.json"
    Courses(path).add(KNOWN[0])
    again = Courses(path)
    again.add(WARM)
    assert list(Courses(path).known) == [KNOWN[0], WARM]
    path.unlink()
    path.write_text('[{"kind": 1}]')
    assert list(Courses(path).known) == []


def report(known: Sequence[Course], kinds: Sequence[Kind], *, all_of_them: bool) -> tuple[Report, list[Progress]]:
    told: list[Progress] = []
    return Report(told.append, kinds, known, lambda: NOW, all_of_them=all_of_them), told


def test_the_end_is_said_once_a_stage_is_entered_and_not_while_a_worker_is_waited_for() -> None:
    made, told = report(KNOWN, [INT8], all_of_them=False)
    rung = made.rung("int8")
    for stage in (
        Stage(stage="queued", percent=0),
        Stage(stage="loading", percent=2),
        Stage(stage="freezing", percent=20),
    ):
        rung(stage)
    assert [p.ends for p in told] == [None, NOW + timedelta(seconds=22), NOW + timedelta(seconds=10)]
    assert [name for name, _ in rung.course().stages] == ["loading", "freezing"]


def test_the_end_of_all_candidates_counts_those_that_follow() -> None:
    other = Kind("float16", "keras", 1_000_000)
    known = [*KNOWN, course(5, kind=other, stages=("quantizing",))]
    made, told = report(known, [INT8, other], all_of_them=True)
    made.rung("int8")(Stage(stage="loading", percent=50))
    made.end_share()
    made.rung("float16")(Stage(stage="quantizing", percent=0))
    assert [p.ends for p in told] == [NOW + timedelta(seconds=27), NOW + timedelta(seconds=5)]
    assert [p.percent for p in told] == [25, 50]


def test_percents_never_go_back_over_a_ladder() -> None:
    made, told = report([], [INT8], all_of_them=False)
    made.rung("int8")(Stage(stage="evaluating", percent=90))
    made.rung("int8")(Stage(stage="quantizing", percent=50))
    assert [(p.percent, p.ends) for p in told] == [(90, None), (90, None)]
