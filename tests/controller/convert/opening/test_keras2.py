"""Architectures as Keras 2 wrote them."""

import copy

from litefleet_controller.convert.opening.keras2 import modernized


def layer(name: str, **config: object) -> dict[str, object]:
    return {"class_name": name, "config": {"name": "x", **config}}


def test_a_separable_convolution_has_no_kernel_of_its_own() -> None:
    given = layer("SeparableConv2D", groups=1, kernel_initializer={"class_name": "GlorotUniform"}, filters=4)
    assert modernized(given) == layer("SeparableConv2D", filters=4)


def test_options_that_meant_nothing_are_dropped_wherever_the_layer_stands() -> None:
    inner = {"class_name": "Functional", "config": {"layers": [layer("DepthwiseConv2D", groups=1, strides=[2, 2])]}}
    architecture = {"class_name": "Sequential", "config": {"layers": [inner, layer("LSTM", time_major=False)]}}
    first, second = modernized(architecture)["config"]["layers"]
    assert first["config"]["layers"] == [layer("DepthwiseConv2D", strides=[2, 2])]
    assert second == layer("LSTM")


def test_options_that_mean_something_stay_for_keras_to_refuse() -> None:
    layers = [layer("DepthwiseConv2D", groups=2), layer("Conv2D", groups=1), layer("LSTM", time_major=True)]
    assert modernized(copy.deepcopy(layers)) == layers
