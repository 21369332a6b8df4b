"""Mutants of a `.tflite` file: fields changed by somebody who knows the schema, or bytes by somebody who doesn't. Pure."""

import random
import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_ODD = (-(2**31), -1000, -4, -1, 0, 1, 2, 3, 7, 127, 4000, 65_536, 2**24, 2**31 - 1)
_ODD_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), 1e-3, 300.0)
_KINDS = 19
"""Tensor types up to INT4 and the like; what lies past the known ones is odd as well."""
_TRIES = 50


def mutant(original: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done, and the changed file, which is never the original."""
    for _ in range(_TRIES):
        kind, change = ("fields", _fields) if rng.random() < 0.6 else ("bytes", _bytes)
        try:
            name, made = change(original, rng)
        except (ValueError, TypeError, OverflowError, AttributeError, IndexError, struct.error, AssertionError):
            continue  # a value that the format itself has no room for
        if made != original:
            return f"{kind}: {name}", made
    raise AssertionError("no change could be written down")


# --- by the schema ---


def _fields(original: bytes, rng: random.Random) -> tuple[str, bytes]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(original, 0))
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        act = rng.choice(_ACTS)
        act(model, rng)
        names.append(act.__name__.strip("_"))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return " ".join(names), bytes(builder.Output())


def _tensor(model: Any, rng: random.Random) -> Any:
    return rng.choice(model.subgraphs[0].tensors)


def _operator(model: Any, rng: random.Random) -> Any:
    return rng.choice(model.subgraphs[0].operators)


def _shape(model: Any, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    shape = [int(n) for n in tensor.shape]
    if shape and rng.random() < 0.7:
        place = rng.randrange(len(shape))
        shape[place] = rng.choice((*_ODD, shape[place] + 1, shape[place] * 2, shape[place] - 1))
    else:
        shape = [rng.choice(_ODD) for _ in range(rng.choice((0, 1, 5, 9, 40)))]
    tensor.shape = shape
    if rng.random() < 0.5:
        tensor.shapeSignature = shape


def _type(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).type = rng.randrange(_KINDS)


def _buffer_index(model: Any, rng: random.Random) -> None:
    _tensor(model, rng).buffer = rng.choice((0, len(model.buffers), 4000, rng.randrange(len(model.buffers))))


def _variable(model: Any, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    tensor.isVariable = not tensor.isVariable


def _quantization(model: Any, rng: random.Random) -> None:
    made = schema.QuantizationParametersT()
    made.scale = [rng.choice(_ODD_FLOATS) for _ in range(rng.choice((1, 1, 2, 5)))]
    made.zeroPoint = [rng.choice(_ODD) for _ in range(rng.choice((1, 1, 2)))]
    made.quantizedDimension = rng.choice((0, 1, 9))
    _tensor(model, rng).quantization = rng.choice((made, made, None))


def _data(model: Any, rng: random.Random) -> None:
    buffer = rng.choice([b for b in model.buffers if b.data is not None and len(b.data)])
    data = np.array(buffer.data, np.uint8)
    way = rng.randrange(6)
    if way == 0:
        data = data[: rng.randrange(len(data))]
    elif way == 1:
        data = np.concatenate([data, data])
    elif way == 2:
        data[:] = 0
    elif way == 3:
        data[:] = 0xFF  # NaN as float32
    elif way == 4:
        data = np.frombuffer(rng.randbytes(len(data)), np.uint8)
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    buffer.data = data


def _operands(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    name = rng.choice(("inputs", "outputs"))
    have = [int(n) for n in getattr(operator, name)]
    count = len(model.subgraphs[0].tensors)
    place = rng.randrange(len(have))
    way = rng.randrange(4)
    if way == 0:
        have[place] = rng.randrange(count)
    elif way == 1:
        have[place] = rng.choice((-1, -2, count, 4000, 2**31 - 1))
    elif way == 2:
        del have[place]
    else:
        have.append(rng.randrange(count))
    setattr(operator, name, have)


def _operator_code(model: Any, rng: random.Random) -> None:
    code = rng.choice(model.operatorCodes)
    code.builtinCode = rng.randrange(210)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def _operator_version(model: Any, rng: random.Random) -> None:
    rng.choice(model.operatorCodes).version = rng.choice((0, 1, 2, 3, 5, 9, 99))


def _opcode_index(model: Any, rng: random.Random) -> None:
    _operator(model, rng).opcodeIndex = rng.choice((77, rng.randrange(len(model.operatorCodes))))


def _options(model: Any, rng: random.Random) -> None:
    options = _operator(model, rng).builtinOptions
    fields = sorted(k for k, v in vars(options).items() if isinstance(v, int | float))
    setattr(options, rng.choice(fields), rng.choice((0, 1, 2, 3, 5, 17, 100, 120)))


def _options_type(model: Any, rng: random.Random) -> None:
    operator = _operator(model, rng)
    operator.builtinOptionsType, operator.builtinOptions = 0, None


def _order(model: Any, rng: random.Random) -> None:
    operators = model.subgraphs[0].operators
    way = rng.randrange(3)
    if way == 0:
        rng.shuffle(operators)
    elif way == 1:
        operators.append(rng.choice(operators))
    else:
        del operators[rng.randrange(len(operators))]


def _ends(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    name = rng.choice(("inputs", "outputs"))
    count = len(graph.tensors)
    setattr(graph, name, rng.choice(([rng.randrange(count)], [count], [-1], [], [0, 0])))


_ACTS: tuple[Callable[[Any, random.Random], None], ...] = (
    _shape, _type, _buffer_index, _variable, _quantization, _data, _data, _operands, _operator_code, _operator_version,
    _opcode_index, _options, _options_type, _order, _ends,
)  # fmt: skip


# --- by the byte ---


def _bytes(original: bytes, rng: random.Random) -> tuple[str, bytes]:
    data = bytearray(original)
    act = rng.choice((_flip, _flip, _overwrite, _word, _swap, _cut, _insert))
    # Half of them where the tables are, which in these files is the end and the beginning; weights fill the middle.
    edge = min(len(data), 1200)
    low = rng.choice((0, len(data) - edge)) if rng.random() < 0.5 else 0
    high = low + edge if low or rng.random() < 0.5 else len(data)
    act(data, low, high, rng)
    return act.__name__.strip("_"), bytes(data)


def _flip(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[rng.randrange(low, high)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    size = rng.choice((4, 16, 64))
    at = rng.randrange(low, max(low + 1, high - size))
    data[at : at + size] = rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size))


def _word(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    struct.pack_into("<i", data, (rng.randrange(low, high - 8) // 4) * 4, rng.choice(_ODD))


def _swap(data: bytearray, _low: int, _high: int, rng: random.Random) -> None:
    size = min(rng.choice((64, 4096, 65_536)), len(data) // 3)
    a, b = (rng.randrange(len(data) // size) * size for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def _cut(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    del data[rng.randrange(low, high) :]


def _insert(data: bytearray, low: int, high: int, rng: random.Random) -> None:
    at = rng.randrange(low, high)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
