"""SqueezeNet 1.1: fire modules, which squeeze to few channels and expand by 1x1 and 3x3 convolutions side by side.

1.1 is its authors' (github.com/forresti/SqueezeNet, SqueezeNet_v1.1): a 3x3 stem with 64 filters and pooling earlier
than in the paper, for 2.4 times less arithmetic. No batch normalization, so it wants a small learning rate.
"""

from typing import Any

from litefleet_controller.convert.zoo.blocks import PIXELS
from litefleet_controller.convert.zoo.interface import Architecture, Plan

_STEM, _DROPOUT = 64, 0.5
_FIRES = (
    # squeeze filters, filters of each expansion, pooled before
    (16, 64, True),
    (16, 64, False),
    (32, 128, True),
    (32, 128, False),
    (48, 192, True),
    (48, 192, False),
    (64, 256, False),
    (64, 256, False),
)


def _build(plan: Plan) -> Any:
    import keras
    from keras import layers

    # Its authors' code doesn't pad, which would leave nothing of a small input.
    padding = "same" if plan.left_out else "valid"
    stride = iter(plan.strides)

    def convolution(x: Any, filters: int, kernel: int, name: str, **stem: Any) -> Any:
        how = {"padding": "same", "activation": "relu", "kernel_initializer": "he_uniform", **stem}
        return layers.Conv2D(filters, kernel, name=name, **how)(x)

    inputs = keras.Input(plan.shape, name="image")
    x = layers.Rescaling(**PIXELS, name="rescaling")(inputs)
    x = convolution(x, _STEM, 3, "conv1", strides=next(stride), padding=padding)
    for number, (squeeze, expand, pooled) in enumerate(_FIRES, 2):
        name = f"fire{number}"
        if pooled:
            x = layers.MaxPooling2D(3, next(stride), padding=padding, name=f"{name}_pool")(x)
        x = convolution(x, squeeze, 1, f"{name}_squeeze")
        sides = [convolution(x, expand, 1, f"{name}_expand1x1"), convolution(x, expand, 3, f"{name}_expand3x3")]
        x = layers.Concatenate(name=f"{name}_concat")(sides)
    x = layers.Dropout(_DROPOUT, name="dropout")(x)
    x = convolution(x, plan.classes, 1, "conv10")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="squeezenet")


ARCHITECTURE = Architecture(
    name="squeezenet",
    paper="Iandola et al. 2016, arXiv 1602.07360, in its authors' version 1.1",
    good_for="the smallest file of these at width 1, for slow links; nothing but convolutions and pooling",
    parameters=1_235_496,
    halvings=4,
    build=_build,
)
