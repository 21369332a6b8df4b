"""From the frozen float32 file to the variant that a recipe describes. Without tensorflow; runs in workers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from litert_quantizer import Quantizer

from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.tflite.flatbuffer import custom_edges, with_inlined_buffers
from litefleet_controller.convert.workers.tasks import CALIBRATION_MISSING, RungError
from litefleet_controller.resources.recipe import Recipe

Rule = dict[str, Any]
FAILURES = (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError)
"""What the quantizer raises for a model that it can't take."""
_BITS = {"float32": 32, "float16": 16, "int8": 8, "int16": 16}


def quantize(
    frozen: bytes, name: RecipeName, how: Recipe, ranges: Mapping[str, Any] | None, spared: Sequence[str] = ()
) -> bytes:
    """The variant, weights inside the file.

    `ranges`: of the activations, see ranges.py, where needed. `spared`: scopes of the operators that stay float32.

    Raises:
        RungError: `CalibrationMissing` or `QuantizationFailed`.
    """
    if how.weights.dtype == "float32":
        return with_inlined_buffers(frozen)
    if how.needs_calibration and ranges is None:
        raise RungError("CalibrationMissing", CALIBRATION_MISSING.format(name))
    try:
        taken = dict(ranges) if ranges is not None and how.needs_calibration else None
        asked = [*rules(how), *map(unquantized, custom_edges(frozen)), *map(untouched, spared)]
        return quantized_by(asked, frozen, taken)
    except FAILURES as e:
        raise RungError("QuantizationFailed", f"the model can't be made {name}: {str(e).strip()[:240]}") from e


def quantized_by(rules: list[Rule], frozen: bytes, ranges: dict[str, Any] | None) -> bytes:
    """What the quantizer makes, weights inside the file.

    Raises: one of FAILURES.
    """
    result = Quantizer(frozen, rules).quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return with_inlined_buffers(bytes(result.quantized_model))


def untouched(scope: str) -> Rule:
    """The rule for one operator that stays as it is. Scopes are the quantizer's: see `layers.Layer`."""
    return {"regex": only(scope), "operation": "*", "algorithm_key": "no_quantize"}


def unquantized(edge: str) -> Rule:
    """The rule for one of the graph's edges, INPUT or OUTPUT, that stays float32."""
    return {"regex": ".*", "operation": edge, "algorithm_key": "no_quantize"}


def only(scope: str) -> str:
    """The regular expression for one scope."""
    return f"^{re.escape(scope)}$"


def rules(how: Recipe, regex: str = ".*") -> list[Rule]:
    """The recipe as litert-quantizer has it: a rule for all that it can quantize within `regex`; later ones win."""
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
        "min_weight_elements": how.weights.min_elements,
    }
    if how.needs_calibration:
        config["activation_tensor_config"] = {
            "num_bits": _BITS[how.activations],
            "symmetric": how.activations == "int16",  # LiteRT's int16 kernels have no zero point
            "granularity": "TENSORWISE",
            "dtype": "INT",
        }
    algorithm = "min_max_uniform_quantize" if is_integer else "float_casting"
    every = {"regex": regex, "operation": "*", "algorithm_key": algorithm, "op_config": config}
    # To the quantizer, the graph's edges are operators as well.
    edges = ("INPUT", "OUTPUT") if how.needs_calibration and how.edges == "float32" else ()
    return [every, *map(unquantized, edges)]
