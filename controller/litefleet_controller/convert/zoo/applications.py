"""Keras's own applications, for inputs smaller than they take: the same layers, fewer of which halve.

An application refuses inputs below 32 pixels, and halves all others five times. So it is built for the size at which
its later layers see what they are to see, and the strides and the input's size are then rewritten in its
configuration. Without halvings to leave out, what comes is what Keras makes. Imports keras when it builds.
"""

from collections.abc import Callable, Mapping
from typing import Any

from litefleet_controller.convert.zoo.interface import Plan

Config = dict[str, Any]


def build(plan: Plan, name: str, application: Callable[[tuple[int, int, int]], Any]) -> Any:
    """A keras.Model after `plan`; `application` makes one for a shape (height, width, channels)."""
    import keras

    height, width, channels = plan.shape
    factor = 2**plan.left_out
    model = application((height * factor, width * factor, channels))
    config = with_fewer_halvings(model.get_config(), plan)
    return keras.Model.from_config({**config, "name": name})


def with_fewer_halvings(config: Mapping[str, Any], plan: Plan) -> Config:
    """A functional model's configuration for `plan`: its input's size, and strides of its first layers that halve.

    A strided layer that isn't padded itself stands behind a ZeroPadding2D, which pads the right and lower side more;
    without the stride, padding by half of the kernel keeps the size.
    """
    layers = [{**layer, "config": {**layer["config"]}} for layer in config["layers"]]
    left_out = plan.left_out
    for index, layer in enumerate(layers):
        own = layer["config"]
        if layer["class_name"] == "InputLayer":
            own["batch_shape"] = (None, *plan.shape)
        elif left_out and tuple(own.get("strides", ())) == (2, 2):
            left_out -= 1
            own["strides"] = (1, 1)
            if own["padding"] == "valid":
                half = own["kernel_size"][0] // 2
                layers[index - 1]["config"]["padding"] = ((half, half), (half, half))
    return {**config, "layers": layers}
