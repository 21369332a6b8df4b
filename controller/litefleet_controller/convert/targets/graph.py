"""A `.tflite` file's main graph as plain values: what rules and counts about operators are written against.

Read from the flatbuffer in a worker; the values need no library, so that the rules are tested as tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from litefleet_controller.convert.tflite.flatbuffer import operator_name
from litefleet_controller.convert.tflite.precision import has_data, type_name

_INTEGERS: Mapping[str, np.dtype[Any]] = {"int32": np.dtype("<i4"), "int64": np.dtype("<i8")}
_BYTES: Mapping[str, np.dtype[Any]] = {"int8": np.dtype(np.int8), "uint8": np.dtype(np.uint8)}
_MAX_READ = 64
"""Constants up to so many numbers are read: axes, paddings, strides."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What goes along an edge of the graph."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    """As numpy calls it."""
    is_constant: bool = False
    is_open: bool = False
    """Whether a dimension is known only when it runs."""
    scales: int = 0
    """0 for what isn't quantized, 1 for one scale, more for one a channel."""
    values: tuple[int, ...] | None = None
    """Content of a small integer constant, flat."""
    is_zero: bool = False
    """Whether a constant stands for nothing but zeros."""

    @property
    def items(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the graph."""

    name: str
    inputs: tuple[Tensor, ...]
    """Without those that aren't given."""
    outputs: tuple[Tensor, ...]
    options: Any = None
    """The schema's own object; may be None."""
    version: int = 1

    def option(self, name: str) -> int:
        """An integer or boolean option, 0 when it isn't given."""
        return int(getattr(self.options, name, 0) or 0)

    @property
    def moving(self) -> tuple[Tensor, ...]:
        """Inputs and outputs that aren't constants."""
        return (*(t for t in self.inputs if not t.is_constant), *self.outputs)


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in the order in which LiteRT runs them."""

    operators: tuple[Operator, ...]
    inputs: frozenset[int] = field(default_factory=frozenset)
    """Indices of the tensors that go in."""


def read_graph(model: Any) -> Graph:
    """The main graph of schema.ModelT, whose weights lie inside the file and whose indices were checked."""
    graph = model.subgraphs[0]
    tensors = [_tensor(model, index, tensor) for index, tensor in enumerate(graph.tensors)]
    return Graph(
        tuple(
            Operator(
                operator_name(model, o),
                tuple(tensors[i] for i in _indices(o.inputs) if i >= 0),
                tuple(tensors[i] for i in _indices(o.outputs)),
                o.builtinOptions,
                model.operatorCodes[o.opcodeIndex].version,
            )
            for o in graph.operators
        ),
        frozenset(_indices(graph.inputs)),
    )


def _indices(indices: Any) -> list[int]:
    return [] if indices is None else [int(i) for i in indices]


def _tensor(model: Any, index: int, tensor: Any) -> Tensor:
    shape = _indices(tensor.shape)
    signed = _indices(tensor.shapeSignature) or shape
    dtype = type_name(tensor)
    is_constant = has_data(model, tensor)
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    return Tensor(
        index=index,
        shape=tuple(shape),
        dtype=dtype,
        is_constant=is_constant,
        is_open=any(n < 0 for n in (*shape, *signed)),
        scales=0 if scales is None else len(scales),
        values=_values(model, tensor, dtype) if is_constant else None,
        is_zero=is_constant and _is_zero(model, tensor, dtype),
    )


def _values(model: Any, tensor: Any, dtype: str) -> tuple[int, ...] | None:
    data = model.buffers[tensor.buffer].data
    if dtype not in _INTEGERS or data is None or len(data) > _MAX_READ * _INTEGERS[dtype].itemsize:
        return None
    return tuple(int(n) for n in np.frombuffer(np.asarray(data, np.uint8).tobytes(), _INTEGERS[dtype]))


def _is_zero(model: Any, tensor: Any, dtype: str) -> bool:
    data = model.buffers[tensor.buffer].data
    if data is None or dtype not in _BYTES:
        return False
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    zero = 0 if points is None or len(points) == 0 else int(points[0])
    return bool((np.frombuffer(np.asarray(data, np.uint8).tobytes(), _BYTES[dtype]) == zero).all())
