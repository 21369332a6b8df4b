"""MobileNetV3-Small, as Keras has it: found by search, with squeeze-and-excite and hard-swish."""

from typing import Any

from litefleet_controller.convert.zoo import applications
from litefleet_controller.convert.zoo.interface import Architecture, Plan


def _build(plan: Plan) -> Any:
    import keras

    def application(shape: tuple[int, int, int]) -> Any:
        return keras.applications.MobileNetV3Small(
            input_tensor=keras.Input(shape, name="image"), alpha=plan.width, weights=None, classes=plan.classes
        )

    return applications.build(plan, "mobilenet-v3-small", application)


ARCHITECTURE = Architecture(
    name="mobilenet-v3-small",
    paper="Howard et al. 2019, arXiv 1905.02244",
    good_for="the least arithmetic of these, for slow CPUs",
    parameters=2_542_856,
    halvings=5,
    widths=(0.35, 0.5, 0.75, 1.0, 1.25),
    build=_build,
)
