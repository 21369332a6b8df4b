"""A frozen model and calibration inputs as quantize.py takes them, without TensorFlow."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.making.ranges import as_the_quantizer_has_them, measured
from litefleet_controller.convert.tflite.fixing import fixed
from litefleet_controller.convert.tflite.flatbuffer import with_inlined_buffers, with_signature
from litefleet_controller.resources.recipe import Recipe
from tests.controller.convert.conftest import Workshop


def frozen(workshop: Workshop, name: str = "digits.tflite") -> bytes:
    """The bytes that a float `.tflite` file of the workshop comes to."""
    return with_signature(with_inlined_buffers(fixed(workshop.read(name))), "input", ("output",))


def images(workshop: Workshop, name: str) -> NDArray[np.float32]:
    """(N, 8, 8, 1) float32 in 0..1."""
    with np.load(io.BytesIO(workshop.read(name))) as data:
        return (data["x"] / 16)[..., None].astype(np.float32)


def ranges(workshop: Workshop, how: Recipe) -> Mapping[str, Any] | None:
    """What the recipe needs of a calibration, measured."""
    if not how.needs_calibration:
        return None
    return as_the_quantizer_has_them(measured(frozen(workshop), images(workshop, "calibration.npz")))
