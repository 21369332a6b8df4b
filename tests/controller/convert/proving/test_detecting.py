"""When two detectors see the same things."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from litefleet_controller.convert.proving.comparing import Score
from litefleet_controller.convert.proving.detecting import SameThings, certain, golden_detections
from litefleet_controller.convert.tflite.detections import Detections

WHERE = Detections(boxes=0, classes=1, scores=2, count=3, threshold=0.3)
NAMES = ("boxes", "classes", "scores", "count")
ROWS = 5
Thing = tuple[float, float, float]
"""Class, score, and where its box of a fifth of the picture begins on the diagonal."""


def outputs(*samples: list[Thing]) -> list[NDArray[np.float32]]:
    """What the operator would give, the best score first, with zeros past the count."""
    boxes, classes, scores = (
        np.zeros((len(samples), ROWS, 4)),
        np.zeros((len(samples), ROWS)),
        np.zeros((len(samples), ROWS)),
    )
    for n, things in enumerate(samples):
        for row, (kind, score, at) in enumerate(sorted(things, key=lambda t: -t[1])):
            boxes[n, row], classes[n, row], scores[n, row] = (at, at, at + 0.2, at + 0.2), kind, score
    count = np.array([len(things) for things in samples])
    return [array.astype(np.float32) for array in (boxes, classes, scores, count)]


SOURCE = [[(0, 0.9, 0.1), (1, 0.8, 0.7)], [(1, 0.95, 0.4)]]


def score(*samples: list[Thing]) -> Score:
    return SameThings(outputs(*SOURCE), NAMES, 0.1, WHERE).score(outputs(*samples))


def errors(found: Score) -> dict[str, float]:
    return {o.output: o.worst_error for o in found.closeness}


def test_the_same_lists_agree_and_the_count_is_no_error_of_its_own() -> None:
    found = score(*SOURCE)
    assert found.agreement == 1.0
    assert errors(found) == {"boxes": 0, "classes": 0, "scores": 0}
    assert [o.sqnr_db for o in found.closeness] == [None, None, None]


def test_two_scores_that_change_places_are_still_the_same_things() -> None:
    found = score([(0, 0.845, 0.1), (1, 0.855, 0.7)], SOURCE[1])
    assert errors(found)["boxes"] == errors(found)["classes"] == 0
    assert errors(found)["scores"] == pytest.approx(0.055 / outputs(*SOURCE)[2].std(), rel=1e-3)


def test_a_thing_that_is_missing_counts_by_its_score_above_the_threshold() -> None:
    faint = [[*SOURCE[0], (0, 0.31, 0.4)], SOURCE[1]]
    things = SameThings(outputs(*faint), NAMES, 0.1, WHERE)
    assert things.score(outputs(*SOURCE)).agreement == 1.0
    lost = score(SOURCE[0][:1], SOURCE[1])
    assert lost.agreement == 0.5
    assert errors(lost)["classes"] == pytest.approx(0.5 / (0.9 + 0.5), rel=1e-3)


def test_a_thing_that_is_not_there_counts_as_one_that_is_missing() -> None:
    more = score([*SOURCE[0], (0, 0.8, 0.4)], SOURCE[1])
    assert more.agreement == 0.5
    assert errors(more)["classes"] == pytest.approx(0.5 / (0.9 + 0.8 + 0.5), rel=1e-3)


def test_what_a_full_list_had_no_room_for_is_not_missing() -> None:
    full = [[(0, 0.9 - 0.1 * n, 0.15 * n) for n in range(ROWS)]]
    things = SameThings(outputs(*full), NAMES, 0.1, WHERE)
    last = [*full[0][:-1], (1, 0.505, 0.8)]
    assert things.score(outputs(last)).agreement == 1.0


def test_another_class_in_the_same_place_is_another_thing() -> None:
    assert score([(1, 0.9, 0.1), (1, 0.8, 0.7)], SOURCE[1]).agreement == 0.5


def test_boxes_are_off_by_their_pairs_difference_over_the_spread() -> None:
    moved = score([(0, 0.9, 0.12), (1, 0.8, 0.7)], [(1, 0.95, 0.4)])
    boxes = outputs(*SOURCE)[0]
    assert errors(moved)["boxes"] == pytest.approx(0.02 * np.sqrt(0.9 / 1.7) / boxes.std(), rel=1e-3)
    away = score([(0, 0.9, 0.25), (1, 0.8, 0.7)], [(1, 0.95, 0.4)])
    assert errors(away)["classes"] > 0.5


def test_nothing_in_both_agrees() -> None:
    source = [SOURCE[0], []]
    assert SameThings(outputs(*source), NAMES, 0.1, WHERE).score(outputs(*source)).agreement == 1.0


def test_an_output_beside_the_detections_is_compared_number_by_number() -> None:
    beside = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    things = SameThings([*outputs(*SOURCE), beside], (*NAMES, "beside"), 0.1, WHERE)
    found = things.score([*outputs(*SOURCE), beside + np.array([[0], [1]], np.float32)])
    assert found.agreement == 0.5
    assert [o.output for o in found.closeness] == ["boxes", "classes", "scores", "beside"]


def test_a_row_is_certain_as_long_as_no_small_difference_moves_it() -> None:
    lists = outputs(
        [(0, 0.9, 0.1), (1, 0.8, 0.5)],  # both
        [(0, 0.9, 0.1), (1, 0.31, 0.5)],  # the second may fall below the threshold
        [(0, 0.9, 0.1), (1, 0.895, 0.5)],  # they may change places
        [(0, 0.9 - 0.1 * n, 0.1 * n) for n in range(ROWS)],  # what comes behind the last one nobody knows
    )
    assert certain(lists, WHERE, 0.02, 2) == (pytest.approx([0, 3]), 2)
    assert certain(lists, WHERE, 0.02, 3) == (pytest.approx([0, 1, 3]), 1)
    # The third one begins with a doubt.
    assert certain(lists, WHERE, 0.02, 4) == (pytest.approx([0, 1, 3]), 1)
    assert certain([y[2:3] for y in lists], WHERE, 0.02, 4) == (pytest.approx([0]), 0)


def test_golden_samples_hold_the_rows_that_are_certain_and_let_the_count_be_off_by_one() -> None:
    lists = outputs(*SOURCE, [(0, 0.9, 0.1), (1, 0.899, 0.5)])
    x = np.arange(3, dtype=np.float32).reshape(3, 1)
    data, samples, allowed = golden_detections(x, lists, WHERE, (0.01, 0.01, 0.01, 0.02))
    with np.load(io.BytesIO(data)) as arrays:
        assert (samples, allowed) == (2, (0.01, 0.01, 0.01, 1.0))
        assert arrays["x0"].tolist() == [[0], [1]]
        assert arrays["i0"].tolist() == [0, 1, 2, 3]
        assert arrays["y2"] == pytest.approx(np.array([[0.9], [0.95]]))
