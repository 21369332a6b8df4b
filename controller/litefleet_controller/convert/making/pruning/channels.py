"""Taking whole filters out of a Keras model, those whose weights are smallest, and training what is left.

The measure is the sum of a filter's absolute weights (Li et al. 2016, arXiv 1608.08710). Unlike zeros in a file,
filters that are gone make it smaller and faster everywhere. Which ones could go, topology.py says.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.making.pruning.topology import Channels as Axis
from litefleet_controller.convert.making.pruning.topology import Topology, topology
from litefleet_controller.convert.pruned import PrunedLayer
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Channels

Indices = NDArray[np.intp]
_NAMED = 3
"""Reasons that a refusal names."""


def without_channels(model: Any, how: Channels) -> tuple[Any, tuple[PrunedLayer, ...]]:
    """A smaller model that isn't trained yet, and what was taken out of it.

    Raises:
        RungError: `PruningUnsupported`, with the layers that are in the way.
    """
    import keras

    whole = flat(model)
    found = topology(whole.get_config())
    kept = {name: strongest(_norms(whole.get_layer(name)), how.share, how.divisor) for name in found.makers}
    kept = {name: indices for name, indices in kept.items() if len(indices) < found.makers[name]}

    def smaller(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in kept:
            config["units" if "units" in config else "filters"] = len(kept[layer.name])
        return layer.__class__.from_config(config)

    result = keras.models.clone_model(whole, clone_function=smaller)
    for layer in whole.layers:
        if weights := layer.get_weights():
            axis = found.taken.get(layer.name)
            taken = indices_of(axis, kept) if axis is not None else None
            result.get_layer(layer.name).set_weights(_cut(layer, weights, taken, kept.get(layer.name)))
    removed = 1 - result.count_params() / whole.count_params()
    if removed < how.min_removed:
        raise RungError("PruningUnsupported", _why_not(found, removed, how.min_removed))
    return result, tuple(
        PrunedLayer(
            name, int(np.prod(whole.get_layer(name).get_weights()[0].shape)), 1 - len(indices) / found.makers[name]
        )
        for name, indices in kept.items()
    )


def strongest(norms: Floats, share: float, divisor: int) -> Indices:
    """Which filters stay, in their order: all but `share` of them, rounded up to a multiple of `divisor`.

    Kernels work on so many channels at a time, and a rest of fewer costs them as much.
    """
    count = min(len(norms), -(-max(1, round((1 - share) * len(norms))) // divisor) * divisor)
    return np.sort(np.argsort(-norms, kind="stable")[:count])


def indices_of(axis: Axis, kept: Mapping[str, Indices]) -> Indices:
    """Which of a tensor's channels stay."""
    parts, at = [], 0
    for segment in axis.segments:
        parts.append(at + kept.get(segment.maker, np.arange(segment.count)))
        at += segment.count
    once = np.concatenate(parts)
    return np.concatenate([once + repeat * at for repeat in range(axis.repeats)])


def flat(model: Any) -> Any:
    """The same layers in one functional model, without models within it."""
    import keras

    inputs = keras.Input(batch_shape=(None, *model.inputs[0].shape[1:]), name="input")
    return keras.Model(inputs, _run(model, inputs))


def _run(model: Any, x: Any) -> Any:
    import keras

    def one(layer: Any) -> Callable[..., Any]:
        return (lambda given, **_: _run(layer, given)) if isinstance(layer, keras.Model) else layer

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            x = one(layer)(x)
        return x
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise RungError("PruningUnsupported", f"the model within it {model.name!r} has several inputs or outputs")
    # Keras has no public way to call a model's layers one by one; this is what its own clone_model does.
    return model._run_through_graph(x, operation_fn=one)


def _norms(layer: Any) -> Floats:
    """Sum of the absolute weights of each filter."""
    mixing = layer.pointwise_kernel if hasattr(layer, "pointwise_kernel") else layer.kernel
    weights = np.abs(np.asarray(mixing))
    norms: Floats = weights.sum(axis=tuple(range(weights.ndim - 1)))
    return norms


def _cut(layer: Any, weights: list[Any], taken: Indices | None, made: Indices | None) -> list[Any]:
    """A layer's weights without what doesn't go in and what doesn't come out any more."""
    import keras

    layers = keras.layers
    if taken is None:
        return weights
    if isinstance(layer, layers.BatchNormalization):
        return [w[taken] for w in weights]
    if isinstance(layer, layers.DepthwiseConv2D):
        kernel, *bias = weights
        return [kernel[:, :, taken], *(b[taken] for b in bias)]
    out = slice(None) if made is None else made
    if isinstance(layer, layers.SeparableConv2D):
        depthwise, pointwise, *bias = weights
        return [depthwise[:, :, taken], pointwise[:, :, taken][..., out], *(b[out] for b in bias)]
    if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Dense):
        kernel, *bias = weights
        return [kernel[..., taken, :][..., out], *(b[out] for b in bias)]
    return weights


def _why_not(found: Topology, removed: float, wanted: float) -> str:
    reasons = [f"{name!r} ({why})" for name, why in found.barriers.items()]
    more = f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return (
        f"only {removed:.0%} of the model's weights could be taken out with whole filters, and {wanted:.0%} is the "
        f"least that is worth it; what must stay are those of {', '.join(reasons[:_NAMED])}{more}: use a recipe that "
        "prunes by magnitude"
    )
