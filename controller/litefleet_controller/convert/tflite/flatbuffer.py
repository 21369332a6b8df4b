"""Reading and rewriting `.tflite` files (FlatBuffers, the schema of LiteRT), without an interpreter.

For what neither converter nor quantizer does: a named signature, weights inside the file, the list of operators, and
how much memory the activations need. Runs in workers; imports ai_edge_litert's generated schema only.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.judging.runtimes import litert

SIGNATURE_KEY = "serving_default"
IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
"""`force_align` of Buffer.data in LiteRT's schema."""
_MAX_CUSTOM = 60
"""Characters of a custom operator's name."""
_ARENA_ALIGNMENT = 64
"""LiteRT's kDefaultTensorAlignment."""

_OPERATORS: Mapping[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_ITEM_BYTES: Mapping[int, int] = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT32: 4,
    schema.TensorType.UINT8: 1,
    schema.TensorType.INT64: 8,
    schema.TensorType.BOOL: 1,
    schema.TensorType.INT16: 2,
    schema.TensorType.INT8: 1,
    schema.TensorType.FLOAT64: 8,
}


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no type information
    """The Python builder ignores `force_align`; weights that aren't aligned are read slowly, or not at all, on ARM."""

    def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - overridden
        self.StartVector(x.itemsize, x.size, _ALIGNMENT)
        payload = x.tobytes(order="C")
        self.head -= len(payload)
        self.Bytes[self.head : self.head + len(payload)] = payload
        self.vectorNumElems = x.size
        return self.EndVector()


def parse(data: bytes) -> Any:
    """The file as schema.ModelT, its operators in the field that is read today."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    for code in model.operatorCodes or ():
        # Files of before 2021 have a byte only. LiteRT reads both; the quantizer takes such operators for ADD, its 0.
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return model


def serialize(model: Any) -> bytes:
    """A file of schema.ModelT. The same content gives the same bytes."""
    builder = _AlignedBuilder(1024 * 1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def with_signature(data: bytes, input_name: str, output_names: tuple[str, ...]) -> bytes:
    """The same model with its inputs and outputs named: the quantizer calibrates by signature only."""
    model = parse(data)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE_KEY
    signature.subgraphIndex = 0
    signature.inputs = [_named(input_name, graph.inputs[0])]
    signature.outputs = [_named(n, index) for n, index in zip(output_names, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    return serialize(model)


def with_unique_names(data: bytes) -> bytes:
    """The same model, no two of whose tensors have one name in any of its graphs: the quantizer needs that."""
    model = parse(data)
    names = Counter(tensor.name for graph in model.subgraphs for tensor in graph.tensors)
    if max(names.values(), default=0) < 2:
        return data
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if names[tensor.name] > 1:
                tensor.name = (tensor.name or b"") + f"/{number}.{index}".encode()
    return serialize(model)


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = name
    entry.tensorIndex = int(index)
    return entry


def with_inlined_buffers(data: bytes) -> bytes:
    """The same model with weights inside the FlatBuffer.

    The quantizer puts buffers over 256 KiB behind it, addressed by `Buffer.offset` and `size`; older LiteRT runtimes
    and OpenVINO read that as an empty tensor or not at all.
    """
    # Taking a file apart is most of what a variant of a small model costs; looking at a field of it is nothing.
    packed = schema.Model.GetRootAs(data, 0)
    if all(packed.Buffers(i).Offset() <= 1 for i in range(packed.BuffersLength())):
        return data
    model = parse(data)
    for buffer in (b for b in model.buffers if b.offset > 1):
        buffer.data = np.frombuffer(data, dtype=np.uint8, count=buffer.size, offset=buffer.offset)
        buffer.offset = buffer.size = 0
    return serialize(model)


def operator_name(model: Any, operator: Any) -> str:
    """An operator's name as LiteRT's schema has it; a custom operator's own."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return str(code.customCode.decode(errors="replace"))[:_MAX_CUSTOM]
    number = code.builtinCode
    return _OPERATORS.get(number, f"OPERATOR_{number}")


def input_shape(model: Any) -> tuple[int, ...]:
    """What the model takes, the batch included."""
    graph = model.subgraphs[0]
    return tuple(int(n) for n in graph.tensors[int(graph.inputs[0])].shape)


def operators(model: Any) -> dict[str, int]:
    """How often each operator stands in the main graph, by name."""
    names = (operator_name(model, operator) for operator in model.subgraphs[0].operators)
    return dict(sorted(Counter(names).items()))


def custom_edges(data: bytes) -> tuple[str, ...]:
    """INPUT and OUTPUT, as far as a custom operator reads or writes the model's: these take floats only."""
    # Taking a file apart costs too much to do it for nothing.
    if not any(name.encode() in data for name in litert().custom):
        return ()
    model = parse(data)
    graph = model.subgraphs[0]
    custom = [o for o in graph.operators if model.operatorCodes[o.opcodeIndex].customCode]
    read = {int(i) for o in custom for i in (o.inputs if o.inputs is not None else ())}
    made = {int(i) for o in custom for i in (o.outputs if o.outputs is not None else ())}
    sides = (("INPUT", graph.inputs, read), ("OUTPUT", graph.outputs, made))
    return tuple(edge for edge, indices, touched in sides if touched & {int(i) for i in indices})


def check_operators(model: Any, *, but: str = "") -> None:
    """Refuse what no board of this version has; `but` is the name of a custom operator that some do have.

    Raises:
        ConversionError: `UnsupportedOp`, for Flex operators in any graph, and custom ones but for those few that every
            interpreter brings.
    """
    named_so = {c.customCode.decode(errors="replace")[:_MAX_CUSTOM] for c in model.operatorCodes or () if c.customCode}
    custom = sorted(named_so - litert().custom - {but})
    if custom:
        named = f"operator {custom[0]}" if len(custom) == 1 else f"operators {', '.join(custom[:8])}"
        raise ConversionError(
            "UnsupportedOp",
            f"the model needs the {named}, which LiteRT doesn't have",
            final=True,
            hint="replace the layer it comes from with one that LiteRT supports",
        )


def arena_bytes(model: Any) -> int:
    """Bytes of the activations that are alive at once, at the worst moment: a lower bound of LiteRT's arena.

    A tensor lives from the operator that writes it to the last one that reads it; inputs from the start, outputs to
    the end. Scratch buffers of the kernels come on top and depend on the board.
    """
    graph = model.subgraphs[0]
    last = len(graph.operators)
    first_use: dict[int, int] = dict.fromkeys(map(int, graph.inputs), 0)
    last_use: dict[int, int] = dict.fromkeys(map(int, graph.outputs), last)
    for step, operator in enumerate(graph.operators):
        for index in map(int, operator.outputs):
            first_use.setdefault(index, step)
        for index in map(int, operator.inputs):
            last_use[index] = max(step, last_use.get(index, 0))
    changes = [0] * (last + 2)
    for index, begin in first_use.items():
        size = _tensor_bytes(graph.tensors[index])
        changes[begin] += size
        changes[last_use.get(index, begin) + 1] -= size
    alive = worst = 0
    for change in changes:
        alive += change
        worst = max(worst, alive)
    return worst


def _tensor_bytes(tensor: Any) -> int:
    items = int(np.prod(tensor.shape, dtype=np.int64)) if tensor.shape is not None else 1
    size = items * _ITEM_BYTES.get(tensor.type, 4)
    return -(-size // _ARENA_ALIGNMENT) * _ARENA_ALIGNMENT
