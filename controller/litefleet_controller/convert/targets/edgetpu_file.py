"""A `.tflite` file that edgetpu_compiler made, as far as it can be looked at without an Edge TPU.

Its operators for the TPU are one custom operator, whose options are a FlexBuffer with the program in it. Formats:
tflite/custom_op_data.cc and executable/executable.fbs of github.com/google-coral/libedgetpu. Runs in workers.
"""

import struct
from collections import Counter
from typing import Any

from flatbuffers import encode, flexbuffers, number_types, table  # type: ignore[import-untyped]

from litefleet_controller.convert.tflite.flatbuffer import operator_name
from litefleet_controller.convert.tflite.precision import type_name

CUSTOM_OPERATOR = "edgetpu-custom-op"
_PROGRAM = "4"
"""Key of the serialized package in the FlexBuffer's map."""
_IDENTIFIER = b"DWN1"
_MIN_RUNTIME_VERSION = 4
"""Offset of the first field of `table Package` in its vtable."""
_MISREAD = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)

Edge = tuple[tuple[int, ...], str, tuple[float, ...], tuple[int, ...]]
"""Shape, type, scales and zero points of a tensor that goes in or out."""


def operators(model: Any) -> dict[str, int]:
    """How often each operator stands in the main graph; custom ones by their own name."""
    return dict(sorted(Counter(_name(model, o) for o in model.subgraphs[0].operators).items()))


def is_compiled(model: Any) -> bool:
    """Whether any part of it is for the TPU."""
    return CUSTOM_OPERATOR in operators(model)


def edges(model: Any) -> tuple[list[Edge], list[Edge]]:
    """What goes in and what comes out."""
    graph = model.subgraphs[0]
    given, made = ([_edge(graph.tensors[int(i)]) for i in side] for side in (graph.inputs, graph.outputs))
    return given, made


def runtime_version(model: Any) -> int | None:
    """The oldest Edge TPU runtime that takes the file; None when the file doesn't say so readably."""
    versions = [
        _package_version(bytes(bytearray(o.customOptions)))
        for o in model.subgraphs[0].operators
        if _name(model, o) == CUSTOM_OPERATOR and o.customOptions is not None
    ]
    known = [v for v in versions if v is not None]
    return max(known) if known else None


def _package_version(options: bytes) -> int | None:
    try:
        package = bytes(flexbuffers.GetRoot(bytearray(options)).AsMap[_PROGRAM].AsStringBytes)
        if package[4:8] != _IDENTIFIER:
            return None
        data = bytearray(package)
        root = table.Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
        offset = root.Offset(_MIN_RUNTIME_VERSION)
        return int(root.Get(number_types.Int32Flags, offset + root.Pos)) if offset else None
    except _MISREAD:
        return None


def _name(model: Any, operator: Any) -> str:
    custom = model.operatorCodes[operator.opcodeIndex].customCode
    return custom.decode(errors="replace")[:60] if custom else operator_name(model, operator)


def _edge(tensor: Any) -> Edge:
    quantization = tensor.quantization
    scales, points = (quantization.scale, quantization.zeroPoint) if quantization is not None else (None, None)
    return (
        tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ())),
        type_name(tensor),
        tuple(float(s) for s in (scales if scales is not None else ())),
        tuple(int(p) for p in (points if points is not None else ())),
    )
