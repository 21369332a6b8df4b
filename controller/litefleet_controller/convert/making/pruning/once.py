"""Magnitude pruning of a frozen file, all at once: for every source, without TensorFlow and without training.

The weights of a frozen file have normalizations folded into them, so that their size is what they count for. Also tells
of any frozen file how sparse its layers are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.making.pruning.magnitude import kept
from litefleet_controller.convert.pruned import PrunedLayer
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize
from litefleet_controller.convert.tflite.precision import has_data, type_name

_WEIGHTS = {"CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
"""Operators to which of their inputs are the weights."""
_MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    tensor: Any
    buffer: Any

    @property
    def weights(self) -> NDArray[np.float32]:
        """Flat."""
        return np.frombuffer(np.asarray(self.buffer.data, np.uint8).tobytes(), np.float32)


def pruned_once(frozen: bytes, sparsity: float, min_weights: int) -> bytes:
    """The same model with the smallest `sparsity` of each layer's weights set to zero."""
    model = parse(frozen)
    for layer in _layers(model):
        if (weights := layer.weights).size >= min_weights:
            layer.buffer.data = np.frombuffer((weights * kept(weights, sparsity)).tobytes(), np.uint8)
    return serialize(model)


def layers_of(frozen: bytes) -> tuple[PrunedLayer, ...]:
    """The layers with weights that pruning is about, in the order they run, and how many of those are zero."""
    return tuple(
        PrunedLayer(layer.name, int(w.size), float(np.mean(w == 0)))
        for layer, w in ((layer, layer.weights) for layer in _layers(parse(frozen)))
    )


def overall(layers: tuple[PrunedLayer, ...]) -> float:
    """The share of all their weights that is gone."""
    total = sum(layer.weights for layer in layers)
    return sum(layer.weights * layer.sparsity for layer in layers) / max(total, 1)


def _layers(model: Any) -> Iterator[_Layer]:
    """Weights that several operators share are one layer, the first's."""
    seen = set()
    for operator in model.subgraphs[0].operators:
        at = _WEIGHTS.get(operator_name(model, operator))
        if at is None:
            continue
        tensor = model.subgraphs[0].tensors[int(operator.inputs[at])]
        if tensor.buffer in seen or type_name(tensor) != "float32" or not has_data(model, tensor):
            continue
        seen.add(tensor.buffer)
        output = model.subgraphs[0].tensors[int(operator.outputs[0])]
        yield _Layer(output.name.decode().split(";")[0][:_MAX_NAME], tensor, model.buffers[tensor.buffer])
