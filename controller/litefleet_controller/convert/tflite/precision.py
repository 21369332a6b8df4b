"""Which recipe a `.tflite` file is the result of already: what its numbers are stored and computed in. Pure."""

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.tflite.flatbuffer import operator_name

_TYPES: Mapping[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_INDICES = {"int32", "int64", "bool"}
"""Shapes, axes, conditions; and biases, beside int8 weights."""
_EDGES = {"float32", "int8", "uint8", "int16"}
"""What may go in and out of a quantized graph."""
_HINT = "push the float .tflite, the SavedModel or the .keras file that it was made from"


def has_data(model: Any, tensor: Any) -> bool:
    """Whether a tensor is a constant."""
    buffer = model.buffers[tensor.buffer]
    return (buffer.data is not None and len(buffer.data) > 0) or buffer.size > 0


def type_name(tensor: Any) -> str:
    """A tensor's type as numpy calls it, where numpy has it."""
    return _TYPES.get(tensor.type, f"type {tensor.type}")


def recipe_of(model: Any) -> RecipeName:
    """float32 for a model that any recipe can be made of; another one for a file that can only go out as it is.

    Raises:
        ConversionError: `FormatUnsupported`, for what none of the recipes makes (int4 weights, float64, the
            uint8 scheme of TensorFlow 1).
    """
    graph = model.subgraphs[0]
    edges = {int(i) for i in (*graph.inputs, *graph.outputs)} | _given_to_custom(model)
    stored = {type_name(t) for t in graph.tensors if has_data(model, t)} - _INDICES
    moving = {type_name(t) for i, t in enumerate(graph.tensors) if i not in edges and not has_data(model, t)} - _INDICES
    outside = {type_name(graph.tensors[i]) for i in edges} - _INDICES
    strange = sorted(
        (stored - {"float32", "float16", "int8"}) | (moving - {"float32", "int8", "int16"}) | (outside - _EDGES)
    )
    if strange:
        refuse(
            "FormatUnsupported",
            f"the source is a .tflite file with {' and '.join(strange)} tensors, which no recipe of this version has",
            _HINT,
        )
    if "int16" in moving | outside:
        return "int16x8"
    if "int8" in moving and "float32" in moving:
        return "mixed-int8"
    if outside - {"float32"}:
        return "int8"
    if "int8" in moving:
        return "int8-float"
    if "int8" in stored:
        return "weight-only-int8" if _is_turned_back(model) else "dynamic-int8"
    return "float16" if "float16" in stored else "float32"


def _given_to_custom(model: Any) -> set[int]:
    """What custom operators read: they compute in floats whatever the rest does, so there a quantized graph ends."""
    graph = model.subgraphs[0]
    custom = (o for o in graph.operators if model.operatorCodes[o.opcodeIndex].customCode)
    return {int(i) for o in custom if o.inputs is not None for i in o.inputs if i >= 0}


def _is_turned_back(model: Any) -> bool:
    """Whether int8 weights become floats before they are used, each by an operator of its own."""
    graph = model.subgraphs[0]
    readers = {
        operator_name(model, operator)
        for operator in graph.operators
        for i in map(int, operator.inputs)
        if i >= 0 and type_name(graph.tensors[i]) == "int8"
    }
    return readers == {"DEQUANTIZE"}


def described(model: Any) -> str:
    """What a quantized file is, and what would do instead."""
    graph = model.subgraphs[0]
    given, made = type_name(graph.tensors[graph.inputs[0]]), type_name(graph.tensors[graph.outputs[0]])
    recipe = recipe_of(model)
    return (
        f"the source is {recipe} already, with {given} in and {made} out, and goes out as it is where a class's ladder "
        f"has {recipe}; for other recipes {_HINT}"
    )
