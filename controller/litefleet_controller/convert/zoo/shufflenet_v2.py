"""ShuffleNetV2: one half of the channels passes by, the other is convolved, and a shuffle mixes them.

The shuffle is a transposition, made of reshapes and a permutation of four dimensions, which old kernels have, too.
"""

from typing import Any

from litefleet_controller.convert.zoo.blocks import PIXELS, answers, convolution, depthwise
from litefleet_controller.convert.zoo.interface import Architecture, Plan

_STEM = 24
_REPEATS = (4, 8, 4)
_FILTERS = {
    # of the three stages and the head, by width: table 5 of arXiv 1807.11164
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def _build(plan: Plan) -> Any:
    import keras
    from keras import layers

    *stages, head = _FILTERS[plan.width]
    stride = iter(plan.strides)
    inputs = keras.Input(plan.shape, name="image")
    x = layers.Rescaling(**PIXELS, name="rescaling")(inputs)
    x = convolution(x, _STEM, 3, stride=next(stride), name="stem")
    x = layers.MaxPooling2D(3, next(stride), padding="same", name="stem_pool")(x)
    for number, (filters, repeats) in enumerate(zip(stages, _REPEATS, strict=True), 2):
        x = _reducing_unit(x, filters, next(stride), f"stage{number}_unit1")
        for repeat in range(2, repeats + 1):
            x = _unit(x, filters, f"stage{number}_unit{repeat}")
    x = convolution(x, head, 1, name="head")
    return keras.Model(inputs, answers(x, plan.classes), name="shufflenet-v2")


def _unit(x: Any, filters: int, name: str) -> Any:
    import keras

    passing, convolved = keras.ops.split(x, 2, axis=-1)
    convolved = _branch(convolved, filters // 2, 1, f"{name}_right")
    return _shuffled([passing, convolved], name)


def _reducing_unit(x: Any, filters: int, stride: int, name: str) -> Any:
    """Both branches get all channels, and halve."""
    left = depthwise(x, 3, stride=stride, name=f"{name}_left_depthwise")
    left = convolution(left, filters // 2, 1, name=f"{name}_left_project")
    return _shuffled([left, _branch(x, filters // 2, stride, f"{name}_right")], name)


def _branch(x: Any, filters: int, stride: int, name: str) -> Any:
    x = convolution(x, filters, 1, name=f"{name}_expand")
    x = depthwise(x, 3, stride=stride, name=f"{name}_depthwise")
    return convolution(x, filters, 1, name=f"{name}_project")


def _shuffled(halves: list[Any], name: str) -> Any:
    """Both halves' channels in turn: 0, n/2, 1, n/2 + 1 ..."""
    from keras import layers

    x = layers.Concatenate(name=f"{name}_concat")(halves)
    _, height, width, channels = x.shape
    x = layers.Reshape((height * width, 2, channels // 2), name=f"{name}_grouped")(x)
    x = layers.Permute((1, 3, 2), name=f"{name}_shuffle")(x)
    return layers.Reshape((height, width, channels), name=f"{name}_shuffled")(x)


ARCHITECTURE = Architecture(
    name="shufflenet-v2",
    paper="Ma et al. 2018, arXiv 1807.11164",
    good_for="little arithmetic, for CPUs; an Edge TPU has no operator for its shuffle",
    parameters=2_278_604,
    halvings=5,
    widths=tuple(_FILTERS),
    build=_build,
)
