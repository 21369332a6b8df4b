"""Where a detector's outputs are, and what of them counts."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litefleet_controller.convert.tflite.detections import Detections, cleared, detections_of, headless
from litefleet_controller.convert.tflite.flatbuffer import custom_edges, operators, parse, serialize
from tests.controller.convert.conftest import Workshop

WHERE = Detections(boxes=0, classes=1, scores=2, count=3, threshold=0.3)


@pytest.fixture
def detector(workshop: Workshop) -> bytes:
    return workshop.read("detector.tflite")


@pytest.mark.tensorflow
def test_outputs_are_found_in_whatever_order_the_converter_gave_them(detector: bytes) -> None:
    where = detections_of(parse(detector))
    assert where is not None
    interpreter = Interpreter(model_content=detector)
    interpreter.allocate_tensors()
    shapes = [tuple(int(n) for n in d["shape"]) for d in interpreter.get_output_details()]
    assert [shapes[place] for place in (*where.lists, where.count)] == [(1, 4, 4), (1, 4), (1, 4), (1,)]
    assert where.threshold == pytest.approx(0.3)


@pytest.mark.tensorflow
def test_a_model_that_keeps_the_count_to_itself_has_no_detections(detector: bytes) -> None:
    model = parse(detector)
    where = detections_of(model)
    assert where is not None
    model.subgraphs[0].outputs = [int(i) for n, i in enumerate(model.subgraphs[0].outputs) if n != where.count]
    assert detections_of(model) is None


@pytest.mark.tensorflow
@pytest.mark.parametrize("options", [None, [], [1, 2, 3], [255] * 40])
def test_options_that_cannot_be_read_leave_a_threshold_of_0(detector: bytes, options: Any) -> None:
    model = parse(detector)
    model.subgraphs[0].operators[-1].customOptions = None if options is None else np.array(options, np.uint8)
    where = detections_of(model)
    assert where is not None
    assert where.threshold == 0


@pytest.mark.tensorflow
def test_without_its_head_a_detector_gives_the_boxes_and_scores_of_all_anchors(detector: bytes) -> None:
    body = headless(detector)
    assert "TFLite_Detection_PostProcess" not in operators(parse(body))
    interpreter = Interpreter(model_content=body)
    interpreter.allocate_tensors()
    assert [tuple(d["shape"]) for d in interpreter.get_output_details()] == [(1, 64, 4), (1, 64, 3)]
    assert headless(body) == body


@pytest.mark.tensorflow
def test_the_edge_that_the_operator_writes_is_a_custom_one(detector: bytes) -> None:
    assert custom_edges(detector) == ("OUTPUT",)
    assert custom_edges(headless(detector)) == ()
    # A tensor's name is no operator.
    model = parse(headless(detector))
    model.subgraphs[0].tensors[0].name = "Mfcc"
    assert custom_edges(serialize(model)) == ()


def test_rows_past_the_count_are_zeros_whatever_memory_held() -> None:
    boxes = np.full((2, 3, 4), np.nan, np.float32)
    boxes[0, :2] = 0.5
    classes = np.array([[1, 1, 7], [7, np.inf, 7]], np.float32)
    scores = np.array([[0.9, 0.8, 5], [9, 9, 9]], np.float32)
    found = cleared([boxes, classes, scores, np.array([2, 0], np.float32)], WHERE)
    assert np.array_equal(found[0][0], [[0.5] * 4, [0.5] * 4, [0] * 4])
    assert not found[0][1].any()
    assert found[1].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert found[2] == pytest.approx(np.array([[0.9, 0.8, 0], [0, 0, 0]]))
