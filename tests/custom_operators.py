"""A working model of each custom operator that every LiteRT has: one operator, constants, and one input of floats."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from litefleet_controller.convert.tflite.flatbuffer import serialize

ROWS = 3
"""Detections that are listed at most."""
_THINGS = np.array([[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2]], np.float32)
"""Anchors, by centre and size, which are the boxes as well."""
_DETECTION = {
    "max_detections": ROWS, "max_classes_per_detection": 1, "use_regular_nms": False, "nms_score_threshold": 0.5,
    "nms_iou_threshold": 0.5, "num_classes": 2, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
}  # fmt: skip
_MFCC = {
    "upper_frequency_limit": 4000.0, "lower_frequency_limit": 20.0, "filterbank_channel_count": 40,
    "dct_coefficient_count": 13,
}  # fmt: skip
_RATE = np.array([16_000], np.int32)


def model_of(name: str, version: int = 1) -> bytes:
    """The file. A detector takes scores [1, 3, 3], the background's first, for things at 0.2, 0.5 and 0.8."""
    boxes = np.zeros((1, 3, 4), np.float32)
    match name:
        case "TFLite_Detection_PostProcess":
            outputs = {"boxes": [1, ROWS, 4], "classes": [1, ROWS], "scores": [1, ROWS], "count": [1]}
            return _model(name, version, _DETECTION, [boxes, (1, 3, 3), _THINGS], outputs)
        case "AudioSpectrogram":
            options = {"window_size": 64, "stride": 32, "magnitude_squared": True}
            return _model(name, version, options, [(256, 1)], {"spectra": [1, 7, 33]})
        case "Mfcc":
            return _model(name, version, _MFCC, [(1, 5, 129), _RATE], {"coefficients": [1, 5, 13]})
        case "NumericVerify":
            whole = np.arange(4, dtype=np.int8)
            return _model(name, version, {"tolerance": 1e9, "log_if_failed": False}, [whole, (4,)], {"apart": [4]})
    raise ValueError(name)


def _model(
    name: str,
    version: int,
    options: Mapping[str, Any],
    inputs: list[NDArray[Any] | tuple[int, ...]],
    outputs: Mapping[str, list[int]],
) -> bytes:
    """`inputs`: constants, and in place of the model's input its shape."""
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = name, version
    model.version, model.operatorCodes, model.buffers, graph.tensors = 3, [code], [schema.BufferT()], []
    for n, given in enumerate(inputs):
        is_input = isinstance(given, tuple)
        graph.tensors.append(_tensor(f"x{n}", list(given) if is_input else list(given.shape)))
        if is_input:
            graph.inputs = [n]
            continue
        graph.tensors[n].type = getattr(schema.TensorType, given.dtype.name.upper())
        graph.tensors[n].buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.frombuffer(given.tobytes(), np.uint8)
        if given.dtype == np.int8:
            graph.tensors[n].quantization = schema.QuantizationParametersT()
            graph.tensors[n].quantization.scale, graph.tensors[n].quantization.zeroPoint = [0.5], [0]
    graph.outputs = list(range(len(inputs), len(inputs) + len(outputs)))
    graph.tensors += [_tensor(output, shape) for output, shape in outputs.items()]
    operator.inputs, operator.outputs = list(range(len(inputs))), graph.outputs
    operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(dict(options))), np.uint8)
    graph.operators, model.subgraphs = [operator], [graph]
    return serialize(model)


def _tensor(name: str, shape: list[int]) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, shape, schema.TensorType.FLOAT32, 0
    return made
