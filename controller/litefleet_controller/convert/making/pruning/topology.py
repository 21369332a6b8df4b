"""Which filters of a Keras model could go, and what else goes with each: read from its configuration. Pure.

A filter's channel runs from the layer that makes it through layers that treat every channel for itself (normalization,
activation, depthwise convolution, pooling) to those that mix channels and take it in with weights of their own. Where
all who read it are such, it can be taken out of all of them. Where it is added to another one or multiplied by it,
reshaped or given out, it can't without changing more than itself: such layers are barriers.

Nor are the filters of linear bottlenecks taken, which reach their readers without any activation: MobileNetV2's
projections are as narrow as they can be on purpose (Sandler et al. 2018, arXiv 1801.04381, section 3.2).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_MIXING = {"Conv1D", "Conv2D", "SeparableConv2D", "Dense"}
_PASSING = {
    "AveragePooling2D", "BatchNormalization", "Cropping2D", "DepthwiseConv2D", "Dropout", "GaussianNoise",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Identity", "MaxPooling2D", "Rescaling", "SpatialDropout2D",
    "UpSampling2D", "ZeroPadding2D",
}  # fmt: skip
_ACTIVATING = {"Activation", "ELU", "LeakyReLU", "ReLU"}
_ACROSS_CHANNELS = {"softmax", "log_softmax", "glu", "sparsemax", "sparse_plus"}


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring channels of a tensor."""

    maker: str
    """The layer whose filters they are; empty where nothing is known of that."""
    count: int
    is_activated: bool = False


@dataclass(frozen=True, slots=True)
class Channels:
    """The last axis of a tensor."""

    segments: tuple[Segment, ...]
    repeats: int = 1
    """How often the segments stand in it one after the other: a flattened image has them once a pixel."""


@dataclass(slots=True)
class Topology:
    """What is known of a model's channels."""

    makers: dict[str, int] = field(default_factory=dict)
    """Layers whose filters could go, and how many each has; in their order."""
    taken: dict[str, Channels] = field(default_factory=dict)
    """What each layer with one input takes in."""
    barriers: dict[str, str] = field(default_factory=dict)
    """Layers whose filters must stay, and why."""


def topology(config: Mapping[str, Any]) -> Topology:
    """Read `config`, a functional model's get_config() without models within it."""
    found = Topology()
    made: dict[str, Channels | None] = {}
    for layer in config["layers"]:
        given = list(_tensors(layer["inbound_nodes"]))
        inputs = [made.get(name) or _unknown(shape) for name, shape in given]
        made[layer["name"]] = _follow(layer, inputs, [shape for _, shape in given], found)
    for name, *_ in _histories(config["output_layers"]):
        _stay(made[name], "the model's answer", found)
    for maker in found.barriers:
        found.makers.pop(maker, None)
    return found


def _follow(
    layer: Mapping[str, Any], inputs: Sequence[Channels], shapes: Sequence[Any], found: Topology
) -> Channels | None:
    """What a layer's output is made of; None behind a barrier."""
    if layer["class_name"] == "InputLayer":
        return None
    if len(layer["inbound_nodes"]) == 1 and _is_plain(layer["class_name"], layer["config"]):
        if len(inputs) == 1:
            return _through(layer, inputs[0], shapes[0], found)
        if _is_concatenation(layer, shapes) and all(given.repeats == 1 for given in inputs):
            return Channels(tuple(segment for given in inputs for segment in given.segments))
    for given in inputs:
        _stay(given, f"which go into {layer['class_name']} {layer['name']!r}", found)
    return None


def _through(
    layer: Mapping[str, Any], given: Channels, shape: Sequence[int | None], found: Topology
) -> Channels | None:
    """The same of a plain layer with one input of `shape`."""
    kind, name, config = layer["class_name"], layer["name"], layer["config"]
    is_active = kind in _ACTIVATING or _activation(config) != "linear"
    found.taken[name] = given
    if kind in _MIXING:
        for segment in given.segments:
            if segment.maker and not segment.is_activated:
                found.barriers.setdefault(segment.maker, "a linear bottleneck's")
        found.makers[name] = int(config["units"] if kind == "Dense" else config["filters"])
        return Channels((Segment(name, found.makers[name], is_active),))
    if kind == "Flatten" and all(shape[1:]):
        return Channels(given.segments, given.repeats * _product(shape[1:-1]))
    if kind in _PASSING | _ACTIVATING:
        passed = tuple(Segment(s.maker, s.count, s.is_activated or is_active) for s in given.segments)
        return Channels(passed, given.repeats)
    _stay(given, f"which go into {kind} {name!r}", found)
    return None


def _is_concatenation(layer: Mapping[str, Any], shapes: Sequence[Sequence[int | None]]) -> bool:
    """Whether it puts channels side by side, and not pixels."""
    return layer["class_name"] == "Concatenate" and layer["config"].get("axis", -1) in (-1, len(shapes[0]) - 1)


def _is_plain(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a layer is what its class is for most people."""
    if config.get("data_format", "channels_last") not in (None, "channels_last") or config.get("groups", 1) != 1:
        return False
    if config.get("depth_multiplier", 1) != 1 or _activation(config) in _ACROSS_CHANNELS - {"softmax"}:
        return False
    if kind == "BatchNormalization":
        return config.get("axis", -1) in (-1, 3, [-1], [3])
    if kind == "Rescaling":
        return not isinstance(config.get("scale"), list | tuple | dict)
    return kind in _MIXING or _activation(config) != "softmax"


def _activation(config: Mapping[str, Any]) -> str:
    """Its name; a serialized activation counts as one that looks at each channel for itself."""
    named = config.get("activation", "linear")
    return named if isinstance(named, str) else "other"


def _stay(channels: Channels | None, why: str, found: Topology) -> None:
    for segment in channels.segments if channels is not None else ():
        if segment.maker:
            found.barriers.setdefault(segment.maker, why)


def _unknown(shape: Sequence[int | None]) -> Channels:
    return Channels((Segment("", int(shape[-1] or 0)),))


def _product(numbers: Sequence[int | None]) -> int:
    return math.prod(number or 1 for number in numbers)


def _tensors(node: Any) -> Iterator[tuple[str, Sequence[int | None]]]:
    """The layers that tensors in the arguments of a call come from, and the tensors' shapes."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield node["config"]["keras_history"][0], node["config"]["shape"]
    elif isinstance(node, dict | list | tuple):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _tensors(part)


def _histories(outputs: Any) -> list[Any]:
    """Keras writes one output as [name, node, tensor] and several as a list of those."""
    return [outputs] if isinstance(outputs[0], str) else list(outputs)
