"""From the frozen float32 file to the variant that a recipe describes. Without tensorflow; runs in workers."""

from collections.abc import Mapping
from typing import Any

from litert_quantizer import Quantizer

from litefleet_controller.convert.flatbuffer import with_inlined_buffers
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.tasks import CALIBRATION_MISSING, RungError
from litefleet_controller.resources.recipe import Recipe

_BITS = {"float32": 32, "float16": 16, "int8": 8, "int16": 16}


def quantize(frozen: bytes, name: RecipeName, how: Recipe, ranges: Mapping[str, Any] | None) -> bytes:
    """The variant, weights inside the file. `ranges`: of the activations, see ranges.py, where needed.

    Raises:
        RungError: `CalibrationMissing` or `QuantizationFailed`.
    """
    if how.weights.dtype == "float32":
        return with_inlined_buffers(frozen)
    if how.needs_calibration and ranges is None:
        raise RungError("CalibrationMissing", CALIBRATION_MISSING.format(name))
    try:
        taken = dict(ranges) if ranges is not None and how.needs_calibration else None
        result = Quantizer(frozen, rules(how)).quantize(taken, enable_progress_bar=False, enable_progress_report=False)
        return with_inlined_buffers(bytes(result.quantized_model))
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError) as e:
        raise RungError("QuantizationFailed", f"the model can't be made {name}: {str(e).strip()[:240]}") from e


def rules(how: Recipe) -> list[dict[str, Any]]:
    """The recipe as litert-quantizer has it: one rule for every operator that it can quantize; later ones go first."""
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
    every = {"regex": ".*", "operation": "*", "algorithm_key": algorithm, "op_config": config}
    # To the quantizer, the graph's edges are operators as well.
    edges = ("INPUT", "OUTPUT") if how.needs_calibration and how.edges == "float32" else ()
    return [every, *({"regex": ".*", "operation": edge, "algorithm_key": "no_quantize"} for edge in edges)]
