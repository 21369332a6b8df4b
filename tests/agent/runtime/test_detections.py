"""Detectors on a board: the rows that the real operator leaves unwritten are zeros."""

from pathlib import Path

import numpy as np
import pytest

from litefleet_agent.runtime.detections import Detections, clear, detections_of
from litefleet_agent.runtime.litert import LiteRT, LiteRTModel
from tests.agent.artifacts import sha
from tests.custom_operators import ROWS, model_of

THREE = np.array([[[0, 0.9, 0], [0, 0, 0.8], [0, 0.7, 0]]], np.float32)
ONE = np.array([[[0, 0, 0], [0, 0, 0.6], [0, 0, 0]]], np.float32)


@pytest.fixture
def detector(tmp_path: Path) -> LiteRTModel:
    path = tmp_path / "model.tflite"
    path.write_bytes(model_of("TFLite_Detection_PostProcess"))
    return LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))


def test_what_an_earlier_input_left_is_no_detection(detector: LiteRTModel) -> None:
    boxes, classes, scores, count = detector.infer([THREE])
    assert (count.tolist(), classes.tolist()) == ([3], [[0, 1, 0]])
    assert scores[0] == pytest.approx([0.9, 0.8, 0.7])
    assert boxes[0, 0] == pytest.approx([0.1, 0.1, 0.3, 0.3])
    boxes, classes, scores, count = detector.infer([ONE])
    assert (count.tolist(), classes.tolist()) == ([1], [[1, 0, 0]])
    assert scores[0] == pytest.approx([0.6, 0, 0])
    assert not boxes[0, 1:].any()
    # If this fails, LiteRT has begun to clear them itself.
    assert detector._interpreter.get_tensor(detector._outputs[2][0])[0] == pytest.approx([0.6, 0.8, 0.7])


def test_a_process_on_trial_answers_the_same(detector: LiteRTModel) -> None:
    outputs = [np.full(s, np.nan, np.float32) for s in ((1, ROWS, 4), (1, ROWS), (1, ROWS), (1,))]
    for given, scores in ((THREE, [0.9, 0.8, 0.7]), (ONE, [0.6, 0, 0])):
        detector.run_stored([given], outputs)
        assert outputs[2][0] == pytest.approx(scores)
    assert all(np.isfinite(y).all() for y in outputs)


def test_lists_that_go_out_in_another_order_and_not_all_of_them_are_found() -> None:
    operators = [
        {"op_name": "CONV_2D", "outputs": [3]},
        {"op_name": "TFLite_Detection_PostProcess", "outputs": [5, 6, 7, 8]},
    ]
    assert detections_of(operators, [8, 7, 5]) == Detections(lists=(2, 1), count=0)
    assert detections_of(operators, [5, 6, 7]) is None
    assert detections_of(operators[:1], [3]) is None


def test_not_a_number_past_the_count_is_cleared_too() -> None:
    found = [np.array([2], np.float32), np.full((1, 3, 4), np.nan, np.float32)]
    found[1][0, :2] = 1
    clear(found, Detections(lists=(1,), count=0))
    assert found[1][0].tolist() == [[1] * 4, [1] * 4, [0] * 4]
