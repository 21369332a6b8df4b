"""From the frozen float32 file to the variant that a recipe describes. Without tensorflow; runs in workers."""

from typing import Any

import numpy as np
from litert_quantizer import Quantizer

from litefleet_controller.convert.flatbuffer import SIGNATURE_KEY, parse, with_inlined_buffers
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import CALIBRATION_MISSING, RungError
from litefleet_controller.resources.recipe import Recipe

_BITS = {"float32": 32, "float16": 16, "int8": 8, "int16": 16}


def quantize(frozen: bytes, name: RecipeName, how: Recipe, calibration: Floats | None) -> bytes:
    """The variant, weights inside the file. `calibration`: (N, ...) float32 as the model takes it, where needed.

    Raises:
        RungError: `CalibrationMissing` or `QuantizationFailed`.
    """
    if how.weights.dtype == "float32":
        return with_inlined_buffers(frozen)
    if how.needs_calibration and calibration is None:
        raise RungError("CalibrationMissing", CALIBRATION_MISSING.format(name))
    try:
        quantizer = Quantizer(frozen, [rule(how)])
        ranges = None
        if calibration is not None and quantizer.need_calibration:
            ranges = quantizer.calibrate(_samples(frozen, calibration), num_threads=1)
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return with_inlined_buffers(bytes(result.quantized_model))
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError) as e:
        raise RungError("QuantizationFailed", f"the model can't be made {name}: {str(e).strip()[:240]}") from e


def rule(how: Recipe) -> dict[str, Any]:
    """The recipe as litert-quantizer has it: one rule for every operator that it can quantize."""
    is_integer = how.weights.dtype.startswith("int")
    config: dict[str, Any] = {
        "weight_tensor_config": {
            "num_bits": _BITS[how.weights.dtype],
            "symmetric": True,
            "granularity": "CHANNELWISE" if how.weights.granularity == "channel" else "TENSORWISE",
            "dtype": "INT" if is_integer else "FLOAT",
        },
        "compute_precision": "FLOAT" if how.activations == "float32" else "INTEGER",
        "explicit_dequantize": how.activations == "float32",
        "skip_checks": False,
        "min_weight_elements": 0,
    }
    if how.needs_calibration:
        config["activation_tensor_config"] = {
            "num_bits": _BITS[how.activations],
            "symmetric": how.activations == "int16",  # LiteRT's int16 kernels have no zero point
            "granularity": "TENSORWISE",
            "dtype": "INT",
        }
    algorithm = "min_max_uniform_quantize" if is_integer else "float_casting"
    return {"regex": ".*", "operation": "*", "algorithm_key": algorithm, "op_config": config}


def _samples(frozen: bytes, calibration: Floats) -> dict[str, list[dict[str, Floats]]]:
    """Calibration inputs, each with a batch of 1, by the name that the signature gives the input."""
    name = parse(frozen).signatureDefs[0].inputs[0].name.decode()
    return {SIGNATURE_KEY: [{name: np.ascontiguousarray(sample[np.newaxis])} for sample in calibration]}
