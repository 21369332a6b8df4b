"""From a decoded image or array to the model's float32 input, as the artifact's manifest says.

The order is resize, channels, `x * scale + offset`; the converter's evaluation does the same, so that what was proven
there holds here. Bilinear with half-pixel centres and without antialiasing.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_agent.runtime.interface import ModelError, Tensor, is_finite
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Preprocess

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601, as Pillow's and TensorFlow's grey."""


class Preparation:
    """`prepare` for one model, again and again into the same memory: new pages for each image cost more than the work.

    Not thread-safe, and a result is overwritten by the next: one inference at a time.
    """

    def __init__(self, rules: Preprocess, shape: tuple[int, ...]) -> None:
        self._rules = rules
        self._shape = shape
        self._scale = np.float32(rules.scale)
        self._size = math.prod(shape)
        self._room = np.empty(shape, np.float32)

    def __call__(self, raw: NDArray[Any]) -> Tensor:
        """As `prepare`."""
        rules = self._rules
        if raw.dtype != np.uint8 or raw.size != self._size or rules.resize is not None or rules.channels is not None:
            return prepare(raw, rules, self._shape)
        # Pixels of the right size, the common case: the steps below, without their checks and copies.
        np.copyto(self._room, raw.reshape(self._shape))
        if rules.scale != 1.0:
            np.multiply(self._room, self._scale, out=self._room)
        if rules.offset != 0.0:
            np.add(self._room, np.float32(rules.offset), out=self._room)
        return self._room


def prepare(raw: NDArray[Any], rules: Preprocess, shape: tuple[int, ...]) -> Tensor:
    """One input for a model whose input has `shape` (batch of 1 included).

    `raw` is an image (height, width[, channels]) or any array with as many values as the model takes.

    Raises:
        ModelError: `BadShape` when it doesn't fit, `BadMessage` when it holds anything but finite real numbers: what
            a model makes of NaN says nothing about the model, and an int8 model would answer as if it were zero.
    """
    kind = raw.dtype.kind
    if kind not in "buif":
        raise ModelError(Code.BAD_MESSAGE, f"an input of {raw.dtype} where numbers are wanted")
    value: Tensor = raw.astype(np.float32, copy=False)
    if kind == "f" and not is_finite(value):
        raise ModelError(Code.BAD_MESSAGE, "an input that holds NaN or infinity")
    if not value.size:
        raise ModelError(Code.BAD_SHAPE, f"an empty input, of shape {list(raw.shape)}")
    if rules.resize is not None or (rules.channels is not None and len(shape) == 4):
        value = _as_image(value)
    if rules.resize is not None and value.shape[:2] != tuple(rules.resize):
        value = resized(value, *rules.resize)
    if rules.channels is not None and value.ndim == 3:
        value = with_channels(value, rules.channels)
    if rules.scale != 1.0:
        value = value * np.float32(rules.scale)
    if rules.offset != 0.0:
        value = value + np.float32(rules.offset)
    if value.size != math.prod(shape):
        raise ModelError(Code.BAD_SHAPE, f"an input of shape {list(raw.shape)} where the model takes {list(shape)}")
    value = value.reshape(shape)
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)


def _as_image(value: Tensor) -> Tensor:
    if value.ndim == 4 and value.shape[0] == 1:
        value = value[0]
    if value.ndim == 2:
        value = value[:, :, np.newaxis]
    if value.ndim != 3:
        raise ModelError(Code.BAD_SHAPE, f"an array of shape {list(value.shape)} is not an image")
    return value


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """`image` (h, w, c) at another size."""
    top, bottom, down = _weights(image.shape[0], height)
    left, right, along = _weights(image.shape[1], width)
    rows = image[top] + (image[bottom] - image[top]) * down[:, np.newaxis, np.newaxis]
    mixed: Tensor = rows[:, left] + (rows[:, right] - rows[:, left]) * along[np.newaxis, :, np.newaxis]
    return mixed


def _weights(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Tensor]:
    centres = np.clip((np.arange(new, dtype=np.float64) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(centres).astype(np.intp)
    return low, np.minimum(low + 1, old - 1), (centres - low).astype(np.float32)


def with_channels(image: Tensor, channels: int) -> Tensor:
    """`image` (h, w, c) with 1 (grey) or 3 (RGB) channels; alpha is dropped."""
    have = image.shape[2]
    if have == 4:
        image, have = image[:, :, :3], 3
    if have == channels:
        return image
    if have == 3 and channels == 1:
        return (image @ _LUMA)[:, :, np.newaxis]
    if have == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    raise ModelError(Code.BAD_SHAPE, f"an image of {have} channels where {channels} are wanted")
