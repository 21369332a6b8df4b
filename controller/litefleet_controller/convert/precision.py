"""Which recipe a `.tflite` file is the result of already: what its numbers are stored and computed in. Pure."""

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import RecipeName

_TYPES: Mapping[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_INDICES = {"int32", "int64", "bool"}
"""Shapes, axes, conditions; and biases, beside int8 weights."""
_EDGES = {"float32", "int8", "uint8"}
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
        ConversionError: `FormatUnsupported`, for what none of the recipes makes (int16 activations, int4 weights, the
            uint8 scheme of TensorFlow 1).
    """
    graph = model.subgraphs[0]
    edges = {int(i) for i in (*graph.inputs, *graph.outputs)}
    stored = {type_name(t) for t in graph.tensors if has_data(model, t)} - _INDICES
    moving = {type_name(t) for i, t in enumerate(graph.tensors) if i not in edges and not has_data(model, t)} - _INDICES
    outside = {type_name(graph.tensors[i]) for i in edges}
    strange = sorted((stored - {"float32", "float16", "int8"}) | (moving - {"float32", "int8"}) | (outside - _EDGES))
    if strange:
        refuse(
            "FormatUnsupported",
            f"the source is a .tflite file with {' and '.join(strange)} tensors, which no recipe of this version has",
            _HINT,
        )
    if "int8" in moving or outside != {"float32"}:
        return "int8"
    if "int8" in stored:
        return "dynamic-int8"
    return "float16" if "float16" in stored else "float32"


def described(model: Any) -> str:
    """What a quantized file is, and what would do instead."""
    graph = model.subgraphs[0]
    given, made = type_name(graph.tensors[graph.inputs[0]]), type_name(graph.tensors[graph.outputs[0]])
    recipe = recipe_of(model)
    return (
        f"the source is {recipe} already, with {given} in and {made} out, and goes out as it is where a class's ladder "
        f"has {recipe}; for other recipes {_HINT}"
    )
