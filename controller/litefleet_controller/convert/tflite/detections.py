"""Detectors that end in TensorFlow Lite's `TFLite_Detection_PostProcess`: where it is, and what its outputs are.

The operator lists what it finds, the best score first, and says how many that are. With its usual settings (the fast
non-maximum suppression) it writes no row behind those: there stands what memory held, of an earlier input perhaps, and
nobody may look at it. Source: TensorFlow's lite/kernels/detection_postprocess.cc.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flatbuffers import flexbuffers  # type: ignore[import-untyped]
from numpy.typing import NDArray

from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize

Floats = NDArray[np.float32]

OPERATOR = "TFLite_Detection_PostProcess"
_MISREAD = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Detections:
    """Which of a model's outputs the operator writes, by their places among the outputs."""

    boxes: int
    """(N, rows, 4): top, left, bottom, right."""
    classes: int
    """(N, rows)."""
    scores: int
    """(N, rows), the highest first."""
    count: int
    """(N,): rows that count."""
    threshold: float
    """The score below which nothing is listed."""

    @property
    def lists(self) -> tuple[int, int, int]:
        """The outputs that have rows."""
        return self.boxes, self.classes, self.scores


def detections_of(model: Any) -> Detections | None:
    """Where `model`, a schema.ModelT, has its detections; None unless all that the operator writes goes out."""
    graph = model.subgraphs[0]
    outputs = [int(i) for i in graph.outputs]
    for operator in graph.operators:
        made = [int(i) for i in operator.outputs] if operator.outputs is not None else []
        if operator_name(model, operator) == OPERATOR and len(made) == 4 and set(made) <= set(outputs):
            boxes, classes, scores, count = map(outputs.index, made)
            return Detections(boxes, classes, scores, count, _threshold(operator.customOptions))
    return None


def _threshold(options: Any) -> float:
    try:
        return float(flexbuffers.Loads(bytes(options)).get("nms_score_threshold", 0.0))
    except _MISREAD:
        return 0.0


def headless(data: bytes) -> bytes:
    """The file ending before the operator, in the boxes and scores that it chooses from; as it is without one."""
    model = parse(data)
    graph = model.subgraphs[0]
    last = next((o for o in graph.operators if operator_name(model, o) == OPERATOR), None)
    if last is None:
        return data
    graph.operators = [o for o in graph.operators if o is not last]
    graph.outputs = [int(i) for i in last.inputs[:2]]
    model.signatureDefs = None
    return serialize(model)


def cleared(outputs: Sequence[Floats], where: Detections) -> list[Floats]:
    """The outputs (N, ...) with zeros in all rows that don't count."""
    found = list(outputs)
    there = np.arange(found[where.scores].shape[1]) < found[where.count].reshape(-1, 1)
    for place in where.lists:
        mask = there[..., None] if found[place].ndim == 3 else there
        found[place] = np.where(mask, found[place], np.float32(0))
    return found
