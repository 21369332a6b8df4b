"""ONNX Runtime: the only importer of onnxruntime on the board. Reads `model.onnx`."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.files import check_files
from litefleet_agent.runtime.interface import (
    NOTHING_BESIDE,
    ModelError,
    Tensor,
    Write,
    at_once,
    first_line,
    store,
)
from litefleet_agent.runtime.quantization import dequantized, quantized
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Signature, TensorSpec

CPU = "CPUExecutionProvider"
_ELSEWHERE = frozenset({"AzureExecutionProvider"})
"""Providers that send inputs to another machine."""
_TYPES: Mapping[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_FATAL_ONLY = 4
"""What goes wrong is raised, too; the rest would go to the agent's log twice."""
_NUMBERED = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


class OnnxRuntime:
    """Implements `Runtime`. Its accelerators are what it calls execution providers."""

    @property
    def version(self) -> str:
        """As 1.22.0."""
        return str(onnxruntime.__version__)

    def load(
        self,
        path: Path,
        *,
        threads: int,
        digest: str,
        beside: Mapping[str, str] = NOTHING_BESIDE,
        accelerator: str = "",
        calm: Callable[[], None] = at_once,
    ) -> "OnnxModel":
        """Load an `.onnx` file."""
        check_files(path, digest, beside)
        calm()
        session = self._session(str(path), threads, accelerator or CPU)
        try:
            return OnnxModel(session)
        except ValueError as e:
            raise ModelError(Code.BAD_SHAPE, f"ONNX Runtime can't load it: {e}") from e

    def accelerators(self) -> Sequence[str]:
        """The providers that it was built with."""
        built = [str(p) for p in onnxruntime.get_available_providers() if p not in _ELSEWHERE]
        return [CPU, *(p for p in built if p != CPU)]

    def try_accelerator(self, name: str, *, leave_closed: bool = False) -> str:  # noqa: ARG002 - it has none of those
        """Run a model of one operator on it."""
        session = self._session(_SMALLEST, 1, name)
        try:
            session.run(None, {"x": np.ones((1, 4), np.float32)})
        except Exception as e:  # its errors derive from nothing narrower
            raise ModelError(Code.ACCELERATOR_FAILED, f"ONNX Runtime can't use {name}: {_reason(e)}") from e
        return "this board's processor" if name == CPU else name.removesuffix("ExecutionProvider")

    def _session(self, model: str | bytes, threads: int, device: str) -> Any:
        if device not in onnxruntime.get_available_providers():
            raise ModelError(
                Code.ACCELERATOR_MISSING,
                f"this ONNX Runtime {self.version} has no {device}; it has {', '.join(self.accelerators())} (the "
                "maker's own build of it may; [runtime] accelerator in the agent's configuration says what is used)",
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _FATAL_ONLY
        try:
            # What a provider can't compute runs on the processor; what it can't even begin with must not do so unsaid.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                session = onnxruntime.InferenceSession(model, options, providers=list(dict.fromkeys((device, CPU))))
        except Exception as e:  # its errors derive from nothing narrower
            raise ModelError(_load_code(e), f"ONNX Runtime can't load it: {_reason(e)}") from e
        if device not in session.get_providers():
            raise ModelError(
                Code.ACCELERATOR_FAILED, f"ONNX Runtime has {device}, and could not start it (see the agent's log)"
            )
        return session


class OnnxModel:
    """Implements `EngineModel`."""

    handover_s = 0.0

    def __init__(self, session: Any) -> None:
        """Take up a session.

        Raises:
            ValueError: a tensor without a fixed shape, or of a type that isn't numeric.
        """
        self._session = session
        self._signature = Signature(
            inputs=tuple(map(_spec, session.get_inputs())), outputs=tuple(map(_spec, session.get_outputs()))
        )
        self._inputs = [np.zeros(spec.shape, spec.dtype) for spec in self._signature.inputs]
        self._feed = {spec.name: view for spec, view in zip(self._signature.inputs, self._inputs, strict=True)}

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the graph has them."""
        return self._signature

    def rss_bytes(self) -> int | None:
        """Of this process."""
        return rss_bytes()

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once."""
        return self._answers(
            {spec.name: quantized(value, spec) for value, spec in zip(inputs, self._signature.inputs, strict=True)}
        )

    def infer_in_place(self, write: Write, raw: NDArray[Any]) -> list[Tensor]:
        """Run once on what `write` puts into the input."""
        write(raw, self._inputs[0].reshape(-1))
        return self._answers(self._feed)

    def run_stored(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
        """Run once, from and into arrays of the tensors' own types and shapes."""
        store(
            self._run({spec.name: value for spec, value in zip(self._signature.inputs, inputs, strict=True)}), outputs
        )

    def _answers(self, feed: Mapping[str, NDArray[Any]]) -> list[Tensor]:
        return [dequantized(found, spec) for found, spec in zip(self._run(feed), self._signature.outputs, strict=True)]

    def _run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            found: list[NDArray[Any]] = self._session.run(None, feed)
        except Exception as e:  # its errors derive from nothing narrower
            raise ModelError(_run_code(str(e)), f"ONNX Runtime failed: {_reason(e)}") from e
        return found


def _spec(node: Any) -> TensorSpec:
    if node.type not in _TYPES or not all(isinstance(n, int) for n in node.shape):
        raise ValueError(f"{node.name} is {node.type} {node.shape}, not numbers of a fixed shape")
    return TensorSpec(name=str(node.name), shape=tuple(node.shape), dtype=_TYPES[node.type])


def _reason(error: Exception) -> str:
    """What it says, without its number for it."""
    return _NUMBERED.sub("", first_line(error))


def _run_code(message: str) -> Code:
    if "invalid dimensions for input" in message or "Invalid rank for input" in message:
        return Code.BAD_SHAPE
    return Code.MEMORY_LIMIT if any(sign in message for sign in _NO_MEMORY) else Code.INTERNAL


def _load_code(error: Exception) -> Code:
    message = str(error)
    if any(sign in message for sign in _NO_MEMORY):
        return Code.MEMORY_LIMIT
    if any(sign in message for sign in _UNSUPPORTED):
        return Code.UNSUPPORTED_OP
    if any(sign in message for sign in _NO_MODEL):
        return Code.FORMAT_MISMATCH
    return Code.BAD_SHAPE


_NO_MEMORY = ("bad_alloc", "Failed to allocate", "bad allocation")
_UNSUPPORTED = (
    "No Op registered",
    "is not a registered function/op",
    "ValidateOpsetForDomain",
    "NOT_IMPLEMENTED",
    "Unsupported model IR",
)
_NO_MODEL = ("INVALID_PROTOBUF", "No graph was found")

_SMALLEST = bytes.fromhex(
    "080712003a3b0a0c0a0178120179220452656c751201675a130a0178120e0a0c080112080a0208010a02080462130a017912"
    "0e0a0c080112080a0208010a02080442040a00100d"
)
"""An ONNX model of one Relu: float32 `x` [1, 4] to `y` [1, 4]."""
