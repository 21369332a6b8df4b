"""When answers count as the same: classes that come first, and tensors that are near."""

import numpy as np
import pytest

from litefleet_controller.convert.interface import Measure
from litefleet_controller.convert.proving.comparing import Closeness, TopAnswer, spread, yardstick
from litefleet_controller.convert.samples.datasets import Evaluation

RNG = np.random.default_rng(1)
BOXES = RNG.normal(100, 40, (50, 8, 4)).astype(np.float32)
SCORES = RNG.random((50, 1), dtype=np.float32)


def test_classes_agree_when_the_same_one_comes_first() -> None:
    source = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    score = TopAnswer(source, np.array([0, 0, 0])).score([np.array([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3]], np.float32)])
    assert score.agreement == pytest.approx(2 / 3)
    assert score.accuracy == 1.0
    assert TopAnswer(source, np.array([0, 0, 0])).source_accuracy == pytest.approx(2 / 3)


def test_the_same_tensors_agree_and_have_no_noise() -> None:
    score = Closeness([BOXES, SCORES], ["boxes", "scores"], 0.1).score([BOXES, SCORES])
    assert (score.agreement, score.accuracy) == (1.0, None)
    assert [(o.output, o.mean_error, o.sqnr_db) for o in score.closeness] == [
        ("boxes", 0.0, None),
        ("scores", 0.0, None),
    ]


def test_errors_are_shares_of_an_outputs_own_spread() -> None:
    closeness = Closeness([BOXES, SCORES], ["boxes", "scores"], 0.1)
    boxes, scores = closeness.score([BOXES + 2, SCORES + 0.02]).closeness
    assert boxes.mean_error == pytest.approx(2 / BOXES.std(), rel=1e-3)
    assert scores.worst_error == pytest.approx(0.02 / SCORES.std(), rel=1e-3)
    assert boxes.sqnr_db == pytest.approx(10 * np.log10(np.mean(BOXES**2) / 4), abs=0.01)


def test_a_sample_disagrees_when_one_of_its_outputs_is_off() -> None:
    wrong = SCORES.copy()
    wrong[:10] += SCORES.std() * 0.11
    wrong[10:20] += SCORES.std() * 0.09
    assert Closeness([BOXES, SCORES], ["boxes", "scores"], 0.1).score([BOXES, wrong]).agreement == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("output", "expected"),
    [(np.full((4, 2), 5, np.float32), 5.0), (np.zeros((4, 2), np.float32), 1.0), (BOXES, float(BOXES.std()))],
)
def test_a_constant_output_is_measured_by_its_magnitude(output: np.ndarray, expected: float) -> None:
    assert spread(output) == pytest.approx(expected, rel=1e-5)


def test_where_no_sample_agrees_yet_the_smaller_error_ranks_higher() -> None:
    closeness = Closeness([BOXES], ["boxes"], 0.01)
    near, far = closeness.score([BOXES + 5]), closeness.score([BOXES + 50])
    assert near.agreement == far.agreement == 0
    assert near.rank > far.rank


def test_the_metric_decides_the_measure() -> None:
    evaluation = Evaluation(BOXES, None)
    assert isinstance(yardstick(Measure("closeness"), [BOXES], ["boxes"], evaluation), Closeness)
    classes = Evaluation(BOXES, np.zeros(50, np.int64))
    assert isinstance(yardstick(Measure(), [SCORES], ["scores"], classes), TopAnswer)
