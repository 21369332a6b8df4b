"""LiteRT: runs what quantize.py makes of the frozen file, quantized at the model's edge."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.detections import cleared, detections_of
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec


class LiteRTRunner:
    """Implements `interface.Runner`."""

    def __init__(self, path: Path) -> None:
        """Load `path`.

        Raises:
            RungError: `BadShape`, when LiteRT can't load it.
        """
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, UnicodeDecodeError) as e:
            raise RungError("BadShape", f"LiteRT can't load the variant: {str(e)[:200]}") from e
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = self._interpreter.get_output_details()
        self._detections = detections_of(parse(path.read_bytes()))
        self.signature = Signature(inputs=(_spec(self._input),), outputs=tuple(map(_spec, self._outputs)))

    def infer(self, sample: Floats) -> list[Floats]:
        """Run one input."""
        self._interpreter.set_tensor(self._input["index"], quantized(sample, self._input))
        self._interpreter.invoke()
        found = [dequantized(self._interpreter.get_tensor(d["index"]), d) for d in self._outputs]
        return found if self._detections is None else cleared(found, self._detections)


def quantized(x: Floats, details: dict[str, Any]) -> NDArray[Any]:
    """float32 values as the tensor stores them: round half to even, clipped."""
    scale, zero_point = details["quantization"]
    if scale == 0:
        return x.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    stored = np.round(x / np.float32(scale)) + zero_point
    clipped: NDArray[Any] = np.clip(stored, limits.min, limits.max).astype(details["dtype"])
    return clipped


def dequantized(stored: NDArray[Any], details: dict[str, Any]) -> Floats:
    """What the tensor stores as float32 values."""
    scale, zero_point = details["quantization"]
    if scale == 0:
        return stored.astype(np.float32)
    return (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(
        name=details["name"],
        shape=tuple(int(n) for n in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        quantization=Quantization(scale=float(scale), zero_point=int(zero_point)) if scale else None,
    )
