"""LiteRT: the only importer of ai_edge_litert on the board.

The file is mapped, not copied (one model size of memory less), and hashed on every load: of five models with two
swapped chunks four load and answer wrongly.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.interface import ModelError, Tensor, Write, at_once
from litefleet_agent.runtime.quantization import dequantized, quantized
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec

VERSION = str(ai_edge_litert.__version__)
_REFUSALS = (ValueError, RuntimeError, UnicodeDecodeError)
"""What LiteRT raises for a file it can't use."""


class LiteRT:
    """Implements `Runtime`."""

    def load(self, path: Path, *, threads: int, digest: str, calm: Callable[[], None] = at_once) -> "LiteRTModel":
        """Load a `.tflite` file."""
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            raise ModelError(Code.DIGEST_MISMATCH, f"{path.name} is damaged on the disk")
        calm()  # LiteRT keeps Python's lock while it builds: 9 ms for MobileNetV2
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        except _REFUSALS as e:
            raise ModelError(_load_code(str(e)), f"LiteRT can't load it: {_named(_first_line(e), str(e))}") from e
        return LiteRTModel(interpreter)


class LiteRTModel:
    """Implements `LoadedModel`."""

    handover_s = 0.0

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._signature = Signature(inputs=tuple(_spec(d) for d in inputs), outputs=tuple(_spec(d) for d in outputs))
        self._inputs = [(int(d["index"]), s) for d, s in zip(inputs, self._signature.inputs, strict=True)]
        self._outputs = [(int(d["index"]), s) for d, s in zip(outputs, self._signature.outputs, strict=True)]
        self._view = interpreter.tensor(self._inputs[0][0]) if inputs else None

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the file has them."""
        return self._signature

    def rss_bytes(self) -> int | None:
        """Of this process."""
        return rss_bytes()

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once."""
        try:
            for (index, spec), value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, quantized(value, spec))
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT refused an input: {_first_line(e)}") from e
        return self._run()

    def infer_in_place(self, write: Write, raw: np.ndarray[Any, Any]) -> list[Tensor]:
        """Run once on what `write` puts into the input."""
        # The view goes before the model runs: LiteRT refuses to while anything points into its memory.
        if self._view is not None:
            write(raw, self._view().reshape(-1))
        return self._run()

    def run_stored(self, inputs: Sequence[np.ndarray[Any, Any]], outputs: Sequence[np.ndarray[Any, Any]]) -> None:
        """Run once, from and into arrays of the tensors' own types and shapes.

        Raises:
            ModelError: LiteRT failed, or an output has another shape than the signature says.
        """
        try:
            for (index, _), value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, value)
            self._interpreter.invoke()
            found = [self._interpreter.get_tensor(index) for index, _ in self._outputs]
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT failed: {_first_line(e)}") from e
        for n, (into, output) in enumerate(zip(outputs, found, strict=True)):
            if into.shape != output.shape:
                raise ModelError(
                    Code.BAD_SHAPE, f"output {n} came out as {list(output.shape)}; it should be {list(into.shape)}"
                )
            into[...] = output

    def _run(self) -> list[Tensor]:
        try:
            self._interpreter.invoke()
            return [dequantized(self._interpreter.get_tensor(index), spec) for index, spec in self._outputs]
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT failed: {_first_line(e)}") from e


def _spec(details: Mapping[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(
        name=str(details["name"]),
        shape=tuple(int(n) for n in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        quantization=Quantization(scale=float(scale), zero_point=int(zero_point)) if scale else None,
    )


def _load_code(message: str) -> Code:
    if not message.strip():
        return Code.MEMORY_LIMIT  # measured: an arena that can't be had is the one failure LiteRT gives no reason for
    if any(sign in message for sign in _UNSUPPORTED):
        return Code.UNSUPPORTED_OP
    if any(sign in message for sign in _NO_MODEL):
        return Code.FORMAT_MISMATCH
    return Code.BAD_SHAPE


_UNSUPPORTED = ("unresolved custom op", "Didn't find op", "not supported", "builtin_code out of range")
_NO_MODEL = ("model identifier", "valid Flatbuffer", "schema version", "Could not open")
"""What is no model at all. Everything else that it refuses is a model at odds with itself: indices, shapes, sizes."""
_NODE = re.compile(r"Node number \d+ \(\w+\)")


def _named(line: str, whole: str) -> str:
    """`line`, and the operator that LiteRT names only at the end of what it says."""
    node = _NODE.search(whole)
    return line if node is None or node[0] in line else f"{line[:120]} ({node[0]})"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
