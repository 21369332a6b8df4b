"""What the networks that are drawn here are made of. Imports keras when it is used."""

from typing import Any

PIXELS = {"scale": 1 / 127.5, "offset": -1.0}
"""For Rescaling: 0..255 to -1..1."""


def convolution(
    x: Any, filters: int, kernel: int, *, name: str, stride: int = 1, activation: str | None = "relu"
) -> Any:
    """A convolution without a bias, batch normalization, and `activation` (relu, relu6, or none)."""
    from keras import layers

    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    return _normalized(x, name, activation)


def depthwise(x: Any, kernel: int, *, name: str, stride: int = 1, activation: str | None = None) -> Any:
    """A depthwise convolution without a bias, batch normalization, and `activation`."""
    from keras import layers

    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, depthwise_initializer="he_normal", name=name
    )(x)
    return _normalized(x, name, activation)


def _normalized(x: Any, name: str, activation: str | None) -> Any:
    from keras import layers

    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    if activation is None:
        return x
    return layers.ReLU(max_value=6.0 if activation == "relu6" else None, name=f"{name}_{activation}")(x)


def answers(x: Any, classes: int, dropout: float = 0.0) -> Any:
    """Feature maps (batch, height, width, channels) to probabilities (batch, classes)."""
    from keras import layers

    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, activation="softmax", name="probabilities")(x)
