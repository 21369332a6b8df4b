"""From what a data set holds to the source model's float input, exactly as a board does it.

A model that was proven on differently scaled inputs was not proven: float32 = resize -> channels -> x * scale + offset,
in that order, all in float32. Resizing is bilinear with half-pixel centres and edge clamping, without anti-aliasing
(`tf.image.resize`'s default, OpenCV's INTER_LINEAR). Runs in workers; imports numpy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from litefleet_protocol.tensors import Preprocess

Floats = NDArray[np.float32]

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601 luma, as Pillow's "L" has it."""


class ShapeError(ValueError):
    """A data set that doesn't fit the model; the message has both shapes."""


def prepare(x: NDArray[np.generic], spec: Preprocess, input_shape: Sequence[int]) -> Floats:
    """Data set `x` (N, H, W), (N, H, W, C) or (N, F) as float32 (N, *input_shape[1:]).

    Raises: ShapeError.
    """
    wanted = tuple(input_shape[1:])
    if x.ndim < 2:
        raise ShapeError(_misfit(x.shape, wanted))
    images = x.astype(np.float32)
    is_image = len(wanted) == 3
    if is_image and images.ndim == 3:
        images = images[..., np.newaxis]
    if spec.resize is not None:
        if images.ndim != 4:
            raise ShapeError(f"resize is for images (N, H, W) or (N, H, W, C), and x has the shape {x.shape}")
        images = resized(images, *spec.resize)
    if spec.channels is not None and images.ndim == 4:
        images = _with_channels(images, spec.channels)
    result = images * np.float32(spec.scale) + np.float32(spec.offset)
    if result.shape[1:] != wanted:
        raise ShapeError(_misfit(x.shape, wanted))
    return np.ascontiguousarray(result, dtype=np.float32)


def _misfit(got: Sequence[int], wanted: Sequence[int]) -> str:
    return f"x has the shape {tuple(got)}, and the model takes {('N', *wanted)}".replace("'N'", "N")


def _with_channels(images: Floats, channels: int) -> Floats:
    present = images.shape[-1]
    if present == channels:
        return images
    if present == 1:
        return np.repeat(images, channels, axis=-1)
    if channels == 1 and present in {3, 4}:
        return np.asarray(images[..., :3] @ _GREY, dtype=np.float32)[..., np.newaxis]
    if channels == 3 and present == 4:
        return images[..., :3]
    raise ShapeError(f"x has {present} channels, and the pre-processing asks for {channels}")


def resized(images: Floats, height: int, width: int) -> Floats:
    """Float images (N, H, W, C) as (N, height, width, C), float32."""
    if images.shape[1:3] == (height, width):
        return images
    top, bottom, down = _neighbours(images.shape[1], height)
    left, right, across = _neighbours(images.shape[2], width)
    down, across = down[:, np.newaxis, np.newaxis], across[:, np.newaxis]
    upper = images[:, top][:, :, left] * (1 - across) + images[:, top][:, :, right] * across
    lower = images[:, bottom][:, :, left] * (1 - across) + images[:, bottom][:, :, right] * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def _neighbours(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each wanted pixel the two it lies between, and how far it is from the first (0..1)."""
    centres = (np.arange(wanted, dtype=np.float64) + 0.5) * size / wanted - 0.5
    centres = np.clip(centres, 0, size - 1)
    low = np.floor(centres).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (centres - low).astype(np.float32)
