"""Multiply-accumulates of an operator for one inference: how much of a model's work it is. Pure."""

from litefleet_controller.convert.targets.graph import Operator


def macs(operator: Operator) -> int:
    """0 for what doesn't multiply by weights: pooling, activations, moves.

    Of a convolution: one for each weight of one filter (weights O, H, W, I) at each output number. Of a transposed one:
    at each input number, for each output channel. Of a fully-connected layer: its weights, for each row of inputs.
    """
    match operator.name, operator.inputs, operator.outputs:
        case "CONV_2D", (_, weights, *_), (out,):
            return out.items * weights.items // max(1, weights.shape[0])
        case "DEPTHWISE_CONV_2D", (_, weights, *_), (out,):
            return out.items * weights.items // max(1, weights.shape[-1])
        case "TRANSPOSE_CONV", (_, weights, given, *_), (_,):
            return given.items * weights.items // max(1, weights.shape[-1])
        case "FULLY_CONNECTED", (given, weights, *_), (_,):
            return weights.items * (given.items // max(1, weights.shape[-1]))
        case "BATCH_MATMUL", (left, right, *_), (out,):
            return out.items * (left.shape[-1] if left.shape and right.shape else 0)
    return 0
