"""A tensor's own type and the real values that it stands for: real = scale * (stored - zeroPoint)."""

from typing import Any

import numpy as np

from litefleet_agent.runtime.interface import Tensor
from litefleet_protocol.tensors import TensorSpec


def quantized(value: Tensor, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """`value` in a tensor's own type: round(real / scale) + zeroPoint, saturating; plain conversion without scale."""
    dtype = np.dtype(spec.dtype)
    if dtype == np.float32:
        return value
    if spec.quantization is None:
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    stored = np.rint(value / np.float32(spec.quantization.scale)) + spec.quantization.zero_point
    saturated: np.ndarray[Any, Any] = np.clip(
        np.nan_to_num(stored, nan=spec.quantization.zero_point), limits.min, limits.max
    ).astype(dtype)
    return saturated


def dequantized(stored: np.ndarray[Any, Any], spec: TensorSpec) -> Tensor:
    """A tensor's real values, float32."""
    if stored.dtype == np.float32:
        return stored
    real = stored.astype(np.float32)
    if spec.quantization is not None:
        real -= np.float32(spec.quantization.zero_point)
        real *= np.float32(spec.quantization.scale)
    return real
