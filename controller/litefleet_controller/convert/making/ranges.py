"""How far every activation of a frozen model reaches, measured on the calibration set once.

All recipes with fixed ranges are made from one measurement: it runs the float model on every sample and is most of what
such a recipe costs. It is kept as JSON: what a worker wrote comes back to another one, and a pickle would be a program.
Runs in workers; imports the quantizer.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from litert_quantizer import Quantizer

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.making.quantize import rules
from litefleet_controller.convert.samples.datasets import load_calibration
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.flatbuffer import SIGNATURE_KEY, input_shape, parse
from litefleet_controller.convert.workers.tasks import RANGES_FILE, Calibrate, Calibrated, RungError
from litefleet_controller.resources.recipe import Recipe, Tolerance, Weights

_Stored = dict[str, tuple[float, float]]
_WIDEST = Recipe(summary="", weights=Weights("int8"), activations="int8", edges="int8", tolerance=Tolerance(0))
"""int8 throughout: whatever another recipe quantizes, this one does, too (int16 lacks some operators)."""


def calibrate(task: Calibrate, stage: Callable[[str, int], None]) -> Calibrated:
    """Write RANGES_FILE.

    Raises:
        RungError: `CalibrationInvalid` or `QuantizationFailed`.
    """
    stage("calibrating", 45)
    frozen = Path(task.frozen).read_bytes()
    inputs = load_calibration(task.calibration, task.calibration_samples, task.preprocess, input_shape(parse(frozen)))
    ranges = measured(frozen, inputs)
    (Path(task.folder) / RANGES_FILE).write_bytes(msgspec.json.encode(ranges))
    return Calibrated(samples=len(inputs))


def measured(frozen: bytes, inputs: Floats) -> _Stored:
    """Lowest and highest value of each activation by its tensor's name, smoothed over `inputs`, float32 (N, ...).

    Raises:
        RungError: `CalibrationInvalid`, where the model overflows on them; `QuantizationFailed`.
    """
    try:
        found = Quantizer(frozen, rules(_WIDEST)).calibrate(_samples(frozen, inputs), num_threads=1)
        ranges = {name: (float(r["min"].min()), float(r["max"].max())) for name, r in found.items() if r}
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError) as e:
        raise RungError("QuantizationFailed", f"the model can't be calibrated: {str(e).strip()[:240]}") from e
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high)):
            said = "the model itself answers NaN or infinity for its samples"
            raise RungError("CalibrationInvalid", f"the calibration set can't be used: {said} (at {name[:80]!r})")
    return ranges


def read_ranges(path: str) -> Mapping[str, Any]:
    """What `calibrate` wrote, as the quantizer takes it.

    Raises:
        ConversionError: `WorkerCrashed`, for what isn't that.
    """
    try:
        stored = msgspec.json.decode(Path(path).read_bytes(), type=_Stored)
    except msgspec.MsgspecError as e:
        raise ConversionError("WorkerCrashed", f"the calibration's result can't be read: {e}", final=False) from e
    return as_the_quantizer_has_them(stored)


def as_the_quantizer_has_them(stored: Mapping[str, tuple[float, float]]) -> Mapping[str, Any]:
    """One minimum and one maximum a tensor; it takes any shape with one element."""
    return {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in stored.items()
    }


def _samples(frozen: bytes, inputs: Floats) -> dict[str, list[dict[str, Floats]]]:
    """Calibration inputs, each with a batch of 1, by the name that the signature gives the input."""
    name = parse(frozen).signatureDefs[0].inputs[0].name.decode()
    return {SIGNATURE_KEY: [{name: np.ascontiguousarray(sample[np.newaxis])} for sample in inputs]}
