"""EfficientNet-B0, as Keras has it: found by search, with squeeze-and-excite and swish."""

from typing import Any

from litefleet_controller.convert.zoo import applications
from litefleet_controller.convert.zoo.interface import Architecture, Plan


def _build(plan: Plan) -> Any:
    import keras

    def application(shape: tuple[int, int, int]) -> Any:
        return keras.applications.EfficientNetB0(
            input_tensor=keras.Input(shape, name="image"), weights=None, classes=plan.classes
        )

    return applications.build(plan, "efficientnet-b0", application)


ARCHITECTURE = Architecture(
    name="efficientnet-b0",
    paper="Tan and Le 2019, arXiv 1905.11946",
    good_for="accuracy first (77 % on ImageNet by its paper), for boards with time to spare",
    parameters=5_288_548,
    halvings=5,
    build=_build,
)
