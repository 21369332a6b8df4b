"""A `.tflite` file with every dimension fixed, for a batch of 1: what boards run, and what the quantizer takes best.

Files are often made with an open batch. Their shapes are then computed anew at every inference (SHAPE, STRIDED_SLICE,
PACK, RESHAPE), memory can't be planned ahead, and accelerators refuse them. LiteRT itself says what the shapes come to;
operators that only compute shapes are replaced with what they come to. Runs in workers, in a process that may die of
it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize, with_inlined_buffers
from litefleet_controller.convert.tflite.precision import has_data, type_name

_SHAPE_OPERATORS = frozenset(
    {
        *("SHAPE", "STRIDED_SLICE", "SLICE", "PACK", "CONCATENATION", "GATHER", "CAST", "ADD", "SUB", "MUL"),
        *("REDUCE_PROD", "RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    }
)
_MAX_SHAPE_NUMBERS = 64


def load(data: bytes, *, is_plain: bool = False) -> Any:
    """An interpreter with its tensors allocated. `is_plain`: reference kernels that keep every tensor.

    Raises:
        ConversionError: `FormatMismatch`, `UnsupportedOp` or `BadShape`.
    """
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if is_plain else OpResolverType.AUTO
    try:
        interpreter = Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=is_plain,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, UnicodeDecodeError) as e:
        said = str(e).strip().splitlines() or ["no reason given"]
        refuse(_code(str(e)), f"LiteRT can't load the source: {said[0][:200]}")
    return interpreter


def _code(message: str) -> str:
    if any(sign in message for sign in ("custom op", "Didn't find op", "not supported", "builtin_code out of range")):
        return "UnsupportedOp"
    if any(sign in message for sign in ("model identifier", "valid Flatbuffer", "schema version")):
        return "FormatMismatch"
    return "BadShape"


def fixed(data: bytes, shape: Sequence[int] | None = None) -> bytes:
    """The same model for an input of `shape`, whose batch is 1; the same bytes when it was that already.

    Without `shape`, what the file itself says of all dimensions but the batch.

    Raises:
        ConversionError: `BadShape`, and see `load`.
    """
    model = parse(data)
    given = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    before = [int(n) for n in given.shape]
    shape = shape or (1, *before[1:])
    if before == list(shape) and not any(_is_open(t) for g in model.subgraphs for t in g.tensors):
        return data
    model = parse(with_inlined_buffers(data))
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = list(shape)
    for tensor in (t for g in model.subgraphs for t in g.tensors):
        tensor.shapeSignature = None
    interpreter = run_once(serialize(model), f"LiteRT can't run the source with {list(shape)} instead of {before}")
    _write_shapes(model, interpreter)
    _fold_shapes(model, interpreter)
    return serialize(model)


def _is_open(tensor: Any) -> bool:
    return tensor.shapeSignature is not None and any(n < 0 for n in tensor.shapeSignature)


def run_once(data: bytes, trouble: str) -> Any:
    """An interpreter that ran on zeros and kept every tensor. `trouble`: what it means when it can't.

    Raises:
        ConversionError: `BadShape`, and see `load`.
    """
    try:
        interpreter = load(data, is_plain=True)
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()
    except (ValueError, RuntimeError) as e:
        said = (str(e).strip().splitlines() or ["no reason given"])[0]
        refuse("BadShape", f"{trouble}: {said[:200]}")
    return interpreter


def _write_shapes(model: Any, interpreter: Any) -> None:
    tensors = model.subgraphs[0].tensors
    for details in interpreter.get_tensor_details():
        # Those behind the model's own are the interpreter's scratch tensors.
        if details["index"] < len(tensors) and not has_data(model, tensors[details["index"]]):
            tensors[details["index"]].shape = [int(n) for n in details["shape"]]


def _fold_shapes(model: Any, interpreter: Any) -> None:
    """Replace what depends on nothing but shapes with its value."""
    graph = model.subgraphs[0]
    outputs, kept = {int(i) for i in graph.outputs}, []
    for operator in graph.operators:
        (result,) = operator.outputs if len(operator.outputs) == 1 else (-1,)
        name = operator_name(model, operator)
        is_known = name == "SHAPE" or all(i < 0 or has_data(model, graph.tensors[i]) for i in operator.inputs)
        is_shape = result >= 0 and result not in outputs and _is_few_integers(graph.tensors[result])
        if name in _SHAPE_OPERATORS and is_known and is_shape:
            make_constant(model, graph.tensors[result], interpreter.get_tensor(int(result)))
        else:
            kept.append(operator)
    graph.operators = kept


def _is_few_integers(tensor: Any) -> bool:
    shape = tensor.shape if tensor.shape is not None else ()
    return type_name(tensor) in {"int32", "int64"} and int(np.prod(shape, dtype=np.int64)) <= _MAX_SHAPE_NUMBERS


def make_constant(model: Any, tensor: Any, value: Any) -> None:
    """Give a tensor of `model` this array for ever."""
    buffer = type(model.buffers[0])()
    buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1
