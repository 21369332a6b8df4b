"""The Edge TPU's rules, each a pure function of an operator: None when it holds, or what is wrong in a few words.

The general ones are Coral's model requirements; the named ones are the limits in edgetpu_operations.yaml.
"""

from collections.abc import Callable, Mapping
from math import prod

from litefleet_controller.convert.targets.graph import Operator, Tensor

Rule = Callable[[Operator], str | None]

_EIGHT_BITS = {"int8", "uint8"}
_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
"""LiteRT's ActivationFunctionType."""
_MAX_DIMENSIONS = 3
_MAX_SOFTMAX = 16_000
_DEPTH_STEP = 4


def fixed_shapes(operator: Operator) -> str | None:
    """Every dimension is a number."""
    if any(t.is_open for t in operator.moving):
        return "a dimension is known only when it runs"
    return None


def eight_bits(operator: Operator) -> str | None:
    """Everything that is computed is int8 or uint8, with a scale."""
    for tensor in operator.moving:
        if tensor.dtype not in _EIGHT_BITS:
            return f"it computes in {tensor.dtype}, not in int8"
        if tensor.scales == 0:
            return f"its {tensor.dtype} tensor has no scale"
    return None


def three_dimensions(operator: Operator) -> str | None:
    """Beyond three dimensions only the three innermost may be larger than 1."""
    for tensor in operator.moving:
        if prod(tensor.shape[:-_MAX_DIMENSIONS]) > 1:
            return f"a tensor has the shape {list(tensor.shape)}, more than three dimensions above 1"
    return None


GENERAL: Mapping[str, Rule] = {"OpenShape": fixed_shapes, "DataType": eight_bits, "Rank": three_dimensions}
"""By the code that a fall-back for it has."""


def _no_fused_activation(operator: Operator) -> str | None:
    fused = operator.option("fusedActivationFunction")
    return f"it has {_ACTIVATIONS.get(fused, fused)} fused into it" if fused else None


def _constant_is_padding(operator: Operator) -> str | None:
    constants = [t for t in operator.inputs if t.is_constant]
    if constants and (len(operator.inputs) != 2 or not all(t.is_zero for t in constants)):
        return "it joins a constant, which is taken only as one of two inputs and all zeros"
    return None


def _constant_weights(operator: Operator) -> str | None:
    # The filter is the second input of all four; of TRANSPOSE_CONV the first one is the output's shape.
    weights = operator.inputs[1:2]
    return None if all(t.is_constant for t in weights) else "its weights are computed while it runs"


def _square_dilation(operator: Operator) -> str | None:
    wide, high = operator.option("dilationWFactor") or 1, operator.option("dilationHFactor") or 1
    return None if wide == high else f"it is dilated by {high} in height and by {wide} in width"


def _default_weights_format(operator: Operator) -> str | None:
    return "its weights are shuffled" if operator.option("weightsFormat") else None


def _flat_output(operator: Operator) -> str | None:
    shape = operator.outputs[0].shape
    return None if prod(shape[:-1]) == 1 else f"its output has the shape {list(shape)}, more than one dimension"


def _axes(operator: Operator) -> list[int]:
    rank = len(operator.inputs[0].shape)
    given = operator.inputs[1].values if len(operator.inputs) > 1 else None
    return [axis % rank for axis in given or () if rank]


def _not_the_batch(operator: Operator) -> str | None:
    return "it reduces the batch" if 0 in _axes(operator) else None


def _depth_by_four(operator: Operator) -> str | None:
    shape = operator.inputs[0].shape
    if len(shape) - 1 in _axes(operator) and shape[-1] % _DEPTH_STEP:
        return f"it reduces a depth of {shape[-1]}, which is no multiple of {_DEPTH_STEP}"
    return None


def _not_packed_as_batch(operator: Operator) -> str | None:
    rank = len(operator.outputs[0].shape)
    return "it packs along the batch" if rank and operator.option("axis") % rank == 0 else None


def _batch_not_padded(operator: Operator) -> str | None:
    paddings = operator.inputs[1].values if len(operator.inputs) > 1 else None
    return "it pads the batch" if paddings and any(paddings[:2]) else None


def _slope_for_each_channel(operator: Operator) -> str | None:
    slope = operator.inputs[1].shape
    return None if prod(slope[:-1]) == 1 else f"its slopes have the shape {list(slope)}, more than one dimension"


def _one_dimensional(operator: Operator) -> str | None:
    shape = operator.inputs[0].shape
    return None if prod(shape[:-1]) == 1 else f"its input has the shape {list(shape)}, more than one dimension"


def _at_most_16000(operator: Operator) -> str | None:
    items = operator.inputs[0].items
    return None if items <= _MAX_SOFTMAX else f"it has {items} inputs; the Edge TPU takes {_MAX_SOFTMAX}"


def _unit_strides(operator: Operator) -> str | None:
    strides = operator.inputs[3].values if len(operator.inputs) > 3 else None
    if strides and any(s != 1 for s in strides):
        return f"it has the strides {list(strides)}, not all 1"
    if operator.option("ellipsisMask") or operator.option("newAxisMask"):
        return "it has an ellipsis or a new axis"
    return None


def _scale_for_each_output(operator: Operator) -> str | None:
    weights: Tensor | None = next((t for t in operator.inputs[1:2] if t.scales > 1), None)
    if weights is None:
        return None
    return f"its weights have {weights.scales} scales where TFLite's specification has one"


def _depends_on_size(_: Operator) -> str | None:
    return "the compiler maps it or not depending on its size"


def _leading_ones(operator: Operator) -> str | None:
    inner = operator.inputs[0].shape[-_MAX_DIMENSIONS:]
    first = next((i for i, n in enumerate(inner) if n != 1), len(inner))
    return "it takes out a dimension in the middle" if 1 in inner[first:] else None


NAMED: Mapping[str, Rule] = {
    "no-fused-activation": _no_fused_activation,
    "constant-is-padding": _constant_is_padding,
    "constant-weights": _constant_weights,
    "square-dilation": _square_dilation,
    "default-weights-format": _default_weights_format,
    "flat-output": _flat_output,
    "not-the-batch": _not_the_batch,
    "depth-by-four": _depth_by_four,
    "not-packed-as-batch": _not_packed_as_batch,
    "batch-not-padded": _batch_not_padded,
    "slope-for-each-channel": _slope_for_each_channel,
    "one-dimensional": _one_dimensional,
    "at-most-16000": _at_most_16000,
    "unit-strides": _unit_strides,
    "scale-for-each-output": _scale_for_each_output,
    "depends-on-size": _depends_on_size,
    "leading-ones": _leading_ones,
}
