"""Models that somebody damaged or made for another runtime: the child that tries them out says what is wrong, or dies
of them. The files are changed field by field, as a fuzzer that knows the schema would.
"""

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from .artifacts import DATA, golden_for, make
from .test_check import tried

Change = Callable[[Any], None]


def changed(change: Change) -> bytes:
    """`small.tflite` (a dense layer, then softmax) with `change` made to it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((DATA / "small.tflite").read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_index(model: Any) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 77


def tensor_index(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 4000, 2]


def output_index(model: Any) -> None:
    model.subgraphs[0].outputs = [4000]


def buffer_index(model: Any) -> None:
    model.subgraphs[0].tensors[1].buffer = 4000


def forty_dimensions(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[0]
    tensor.shape = tensor.shapeSignature = [1] * 39 + [4]


def negative_shape(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = [1, -4]


def fewer_weights(model: Any) -> None:
    model.buffers[model.subgraphs[0].tensors[1].buffer].data = np.zeros(4, np.uint8)


def unknown_operator(model: Any) -> None:
    model.operatorCodes[0].builtinCode = 9999


def custom_operator(model: Any) -> None:
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = b"Mystery"


def flex_operator(model: Any) -> None:
    custom_operator(model)
    model.operatorCodes[0].customCode = b"FlexMatMul"


def newer_version(model: Any) -> None:
    model.operatorCodes[0].version = 99


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (operator_index, "BadShape", "77"),
        (tensor_index, "BadShape", "4000"),
        (output_index, "BadShape", "4000"),
        (buffer_index, "BadShape", "4000"),
        (forty_dimensions, "BadShape", ""),
        (negative_shape, "BadShape", ""),
        (fewer_weights, "BadShape", ""),
        (unknown_operator, "UnsupportedOp", "9999"),
        (custom_operator, "UnsupportedOp", "Mystery"),
        (flex_operator, "UnsupportedOp", "FlexMatMul"),
        (newer_version, "UnsupportedOp", "FULLY_CONNECTED' version '99'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_malformed_model_costs_the_child_and_gets_a_code(tmp_path, key, change, code, says):
    made = make(key, changed(change), golden_for(DATA / "small.tflite"))
    verdict = tried(tmp_path, made)
    assert verdict.code == code, verdict
    assert says in verdict.message


def no_identifier(data: bytes) -> bytes:
    return data[:4] + b"XXXX" + data[8:]


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [no_identifier, cut_off])
def test_a_file_that_is_no_model_is_a_format_mismatch(tmp_path, key, damage):
    model = damage((DATA / "small.tflite").read_bytes())
    verdict = tried(tmp_path, make(key, model, golden_for(DATA / "small.tflite")))
    assert verdict.code == "FormatMismatch", verdict
