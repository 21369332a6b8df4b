"""MobileNetV2, as Keras has it: inverted residuals with linear bottlenecks."""

from typing import Any

from litefleet_controller.convert.zoo import applications
from litefleet_controller.convert.zoo.blocks import PIXELS
from litefleet_controller.convert.zoo.interface import Architecture, Plan


def _build(plan: Plan) -> Any:
    import keras

    def application(shape: tuple[int, int, int]) -> Any:
        pixels = keras.layers.Rescaling(**PIXELS, name="rescaling")(keras.Input(shape, name="image"))
        return keras.applications.MobileNetV2(input_tensor=pixels, alpha=plan.width, weights=None, classes=plan.classes)

    return applications.build(plan, "mobilenet-v2", application)


ARCHITECTURE = Architecture(
    name="mobilenet-v2",
    paper="Sandler et al. 2018, arXiv 1801.04381",
    good_for="the one to begin with: plain operators that every accelerator has",
    parameters=3_504_872,
    halvings=5,
    widths=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    build=_build,
)
