"""From the frozen float32 file to the variant that a recipe names. Without tensorflow; runs in workers.

- float32: the frozen file itself.
- float16: weights as float16, computed in float32 (or float16 where the board's CPU has it). Half the size.
- dynamic-int8: weights as int8, one scale a channel; activations are quantized while it runs. Float in and out.
- int8: weights as int8, one scale a channel, activations as int8 with calibrated ranges, and **int8 in and out**: the
  whole graph is integer, so an accelerator takes all of it, and a board moves a quarter of the bytes. Whoever runs it
  quantizes inputs and dequantizes outputs by the signature's scale and zero point.
"""

from typing import Any

import numpy as np
from litert_quantizer import Quantizer, recipe

from litefleet_controller.convert.flatbuffer import SIGNATURE_KEY, parse, with_inlined_buffers
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import CALIBRATION_MISSING, RungError

_FLOAT16 = [
    {
        "regex": ".*",
        "operation": "*",
        "algorithm_key": "float_casting",
        "op_config": {
            "weight_tensor_config": {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
            "skip_checks": False,
            "min_weight_elements": 0,
        },
    }
]


def quantize(frozen: bytes, name: RecipeName, calibration: Floats | None) -> bytes:
    """The variant, weights inside the file. `calibration`: (N, ...) float32 as the model takes it, for int8.

    Raises:
        RungError: `QuantizationFailed`.
    """
    if name == "float32":
        return with_inlined_buffers(frozen)
    try:
        quantizer = Quantizer(frozen, _recipe(name))
        ranges = None
        if quantizer.need_calibration:
            if calibration is None:
                raise RungError("CalibrationMissing", CALIBRATION_MISSING)
            ranges = quantizer.calibrate(_samples(frozen, calibration), num_threads=1)
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return with_inlined_buffers(bytes(result.quantized_model))
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError) as e:
        raise RungError("QuantizationFailed", f"the model can't be made {name}: {str(e).strip()[:240]}") from e


def _recipe(name: RecipeName) -> Any:
    match name:
        case "float16":
            return _FLOAT16
        case "dynamic-int8":
            return recipe.dynamic_wi8_afp32()
        case "int8":
            return recipe.static_wi8_ai8()
        case _:
            raise ValueError(f"no recipe {name!r}")


def _samples(frozen: bytes, calibration: Floats) -> dict[str, list[dict[str, Floats]]]:
    """Calibration inputs, each with a batch of 1, by the name that the signature gives the input."""
    name = parse(frozen).signatureDefs[0].inputs[0].name.decode()
    return {SIGNATURE_KEY: [{name: np.ascontiguousarray(sample[np.newaxis])} for sample in calibration]}
