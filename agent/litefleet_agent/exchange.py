"""Memory that an agent and the child that runs a model on trial share: the tensors of one signature in a row.

Inputs and outputs lie there in their own types, so that pixels are written straight into it and nothing is serialised.
"""

import math
import mmap
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from litefleet_protocol.tensors import Signature, TensorSpec

_ALIGN = 64


class Exchange(Struct, frozen=True):
    """Views of the shared memory."""

    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]


def size_bytes(signature: Signature) -> int:
    """How much memory a signature's tensors take together.

    Raises:
        ValueError: a tensor without a fixed shape, or of no numeric type.
    """
    return max(_ALIGN, sum(_room(spec) for spec in (*signature.inputs, *signature.outputs)))


def open_exchange(descriptor: int, signature: Signature) -> Exchange:
    """Views of the memory behind `descriptor`, which holds `size_bytes(signature)` bytes; they keep it alive.

    Raises:
        ValueError: as `size_bytes`.
    """
    memory = mmap.mmap(descriptor, size_bytes(signature))
    views = []
    offset = 0
    for spec in (*signature.inputs, *signature.outputs):
        flat = np.frombuffer(memory, np.dtype(spec.dtype), math.prod(spec.shape), offset)
        views.append(flat.reshape(spec.shape))
        offset += _room(spec)
    inputs = len(signature.inputs)
    return Exchange(tuple(views[:inputs]), tuple(views[inputs:]))


def _room(spec: TensorSpec) -> int:
    size = np.dtype(spec.dtype).itemsize
    if any(n < 0 for n in spec.shape) or not size:
        raise ValueError(f"{spec.name} is {spec.dtype} {list(spec.shape)}, which has no fixed size")
    return -(-math.prod(spec.shape) * size // _ALIGN) * _ALIGN
