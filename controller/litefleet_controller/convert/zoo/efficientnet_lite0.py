"""EfficientNet-Lite0: EfficientNet-B0 for integer arithmetic, without squeeze-and-excite and with ReLU6 for swish.

After its makers' code (github.com/tensorflow/tpu, models/official/efficientnet/lite); it has no paper of its own. Stem
and head keep their size in all Lite models; Lite0 scales nothing.
"""

from typing import Any

from litefleet_controller.convert.zoo.blocks import answers, convolution, depthwise
from litefleet_controller.convert.zoo.interface import Architecture, Plan

_STEM, _HEAD = 32, 1280
_DROPOUT, _DROP_CONNECT = 0.2, 0.2
_STAGES = (
    # repeats, kernel, halves, expansion, filters: table 1 of arXiv 1905.11946
    (1, 3, False, 1, 16),
    (2, 3, True, 6, 24),
    (2, 5, True, 6, 40),
    (3, 3, True, 6, 80),
    (3, 5, False, 6, 112),
    (4, 5, True, 6, 192),
    (1, 3, False, 6, 320),
)


def _build(plan: Plan) -> Any:
    import keras

    inputs = keras.Input(plan.shape, name="image")
    stride = iter(plan.strides)
    x = keras.layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(inputs)
    x = convolution(x, _STEM, 3, stride=next(stride), activation="relu6", name="stem")
    blocks = sum(repeats for repeats, *_ in _STAGES)
    done = 0
    for stage, (repeats, kernel, halves, expansion, filters) in enumerate(_STAGES, 1):
        for repeat in range(repeats):
            step = next(stride) if halves and repeat == 0 else 1
            name = f"block{stage}{chr(ord('a') + repeat)}"
            y = x
            if expansion != 1:
                y = convolution(y, expansion * x.shape[-1], 1, activation="relu6", name=f"{name}_expand")
            y = depthwise(y, kernel, stride=step, activation="relu6", name=f"{name}_depthwise")
            y = convolution(y, filters, 1, activation=None, name=f"{name}_project")
            if repeat:
                # Stochastic depth: whole samples are dropped, in training only.
                rate = _DROP_CONNECT * done / blocks
                y = keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
                y = keras.layers.Add(name=f"{name}_add")([y, x])
            x = y
            done += 1
    x = convolution(x, _HEAD, 1, activation="relu6", name="head")
    return keras.Model(inputs, answers(x, plan.classes, _DROPOUT), name="efficientnet-lite0")


ARCHITECTURE = Architecture(
    name="efficientnet-lite0",
    paper="Tan and Le 2019, arXiv 1905.11946, in its makers' Lite form of 2020",
    good_for="EfficientNet without what integer hardware lacks: for Edge TPUs and int8 on CPUs",
    parameters=4_652_008,
    halvings=5,
    build=_build,
)
