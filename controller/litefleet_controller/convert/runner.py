"""A variant run as a board runs it: LiteRT, batch 1, float32 in and out, quantized at the model's edge.

Runs in workers; imports ai_edge_litert.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import RungError
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec


class Runner:
    """One loaded model with one input."""

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
        self.signature = Signature(inputs=(_spec(self._input),), outputs=tuple(map(_spec, self._outputs)))

    @property
    def classes(self) -> int:
        """Last dimension of the first output."""
        return int(self._outputs[0]["shape"][-1])

    def __call__(self, x: Floats, tick: Callable[[float], None] = lambda _: None) -> list[Floats]:
        """Run inputs (N, ...) one by one; for each output its values, float32 (N, ...). `tick` gets the share done."""
        answers: list[list[Floats]] = [[] for _ in self._outputs]
        for number, sample in enumerate(x):
            self._interpreter.set_tensor(self._input["index"], quantized(sample[np.newaxis], self._input))
            self._interpreter.invoke()
            for collected, details in zip(answers, self._outputs, strict=True):
                collected.append(dequantized(self._interpreter.get_tensor(details["index"]), details))
            if number % 100 == 0:
                tick(number / len(x))
        return [np.concatenate(a) for a in answers]


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
