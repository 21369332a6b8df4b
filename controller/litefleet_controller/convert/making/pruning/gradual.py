"""Magnitude pruning while the model is trained further: more and more of each layer becomes zero, and stays zero."""

from collections.abc import Callable
from typing import Any

import numpy as np

from litefleet_controller.convert.making.pruning.lesson import Lesson, every_layer, teach
from litefleet_controller.convert.making.pruning.magnitude import kept, sparsity_at
from litefleet_controller.resources.recipe import Magnitude

_UPDATES = 50
"""Of the masks, while sparsity grows: a step between two of them is enough for the model to recover from."""


def pruned_gradually(model: Any, how: Magnitude, lesson: Lesson, stage: Callable[[str, float], None]) -> None:
    """Prune `model` in place.

    Raises: RungError; see `teach`.
    """
    masks = _Masks(model, how)
    every = max(1, int(how.ramp * lesson.steps / _UPDATES))

    def before_step(step: int) -> None:
        # The last one counts: sparsity is what was asked for, whatever the number of steps.
        if step % every == 0 or step == lesson.steps - 1:
            masks.prune(sparsity_at(step, lesson.steps, how))

    teach(model, lesson, stage, before_step, masks.apply)


class _Masks:
    """Which weights of a model are kept."""

    def __init__(self, model: Any, how: Magnitude) -> None:
        import tensorflow as tf

        self._kernels = [
            k for k in map(_kernel, every_layer(model)) if k is not None and np.prod(k.shape) >= how.min_weights
        ]
        self._masks = [tf.Variable(tf.ones(kernel.shape)) for kernel in self._kernels]
        # Eagerly, this is as much work as the training itself.
        self._apply = tf.function(self._multiplied, autograph=False)

    def prune(self, sparsity: float) -> None:
        """Keep fewer, and set the others to zero."""
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            mask.assign(kept(np.asarray(kernel), sparsity).astype(np.float32))
        self._apply()

    def apply(self) -> None:
        """Set to zero what the optimizer moved."""
        self._apply()

    def _multiplied(self) -> None:
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.assign(kernel * mask)


def _kernel(layer: Any) -> Any:
    """The weights of a layer that pruning is about; None for other layers."""
    import keras

    layers = keras.layers
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return layer.pointwise_kernel
    if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Conv2DTranspose | layers.Dense):
        return layer.kernel
    return None
