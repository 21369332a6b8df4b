"""LiteRT: the only importer of its interpreter on the board.

The file is mapped, not copied: one model size of memory less. Where ai-edge-litert has no wheel (32-bit ARM), the
interpreter of 2023, tflite-runtime, does the same.
"""

import ctypes
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.detections import clear, detections_of
from litefleet_agent.runtime.exclusive import EDGE_TPU, EDGE_TPU_OPERATOR
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
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec

if importlib.util.find_spec("ai_edge_litert"):
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter, load_delegate

    VERSION = str(ai_edge_litert.__version__)
else:
    import tflite_runtime
    from tflite_runtime.interpreter import Interpreter, load_delegate

    VERSION = f"tflite-runtime {tflite_runtime.__version__}"

CPU = "cpu"
LIBRARIES: Mapping[str, tuple[str, str]] = {
    EDGE_TPU: (
        "libedgetpu.so.1",
        "install libedgetpu1-std (coral.ai/docs/accelerator/get-started)",
    ),
    "gpu": (
        "libtensorflowlite_gpu_delegate.so",
        "build it for this board from TensorFlow's tensorflow/lite/delegates/gpu; no package has it",
    ),
}
"""Delegate to its library and how to get it. Paths to libraries with TFLite's external delegate interface do, too."""
_REFUSALS = (ValueError, RuntimeError, UnicodeDecodeError)
"""What LiteRT raises for a file it can't use."""
_SMALLEST = Path(__file__).with_name("smallest.tflite")


class LiteRT:
    """Implements `Runtime`. Its accelerators are what it calls delegates; the processor's, XNNPACK, is built in."""

    @property
    def version(self) -> str:
        """As 2.3.0, or `tflite-runtime 2.14.0`."""
        return VERSION

    def load(
        self,
        path: Path,
        *,
        threads: int,
        digest: str,
        beside: Mapping[str, str] = NOTHING_BESIDE,
        accelerator: str = "",
        calm: Callable[[], None] = at_once,
    ) -> "LiteRTModel":
        """Load a `.tflite` file. One that was compiled for the Edge TPU needs and gets that, unasked."""
        check_files(path, digest, beside)
        delegate = None if accelerator in ("", CPU) else _delegate(accelerator)
        calm()  # LiteRT keeps Python's lock while it builds: 9 ms for MobileNetV2
        try:
            return _load(path, threads, delegate)
        except _REFUSALS as e:
            refused = e
        if delegate is None and EDGE_TPU_OPERATOR.decode() in str(refused):
            delegate = _delegate(EDGE_TPU)
            try:
                return _load(path, threads, delegate)
            except _REFUSALS as e:
                refused = e
        code = _load_code(str(refused))
        # LiteRT speaks of delegates without one, too: of XNNPACK, its own, and of the one for Flex operators.
        if delegate is not None and code is not Code.UNSUPPORTED_OP and "delegate" in str(refused).lower():
            code = Code.ACCELERATOR_FAILED
        raise ModelError(code, f"LiteRT can't load it: {_named(first_line(refused), str(refused))}") from refused

    def accelerators(self) -> Sequence[str]:
        """The processor and the delegates whose libraries are known by name."""
        return [CPU, *LIBRARIES]

    def try_accelerator(self, name: str, *, leave_closed: bool = False) -> str:
        """Run a model of one operator with it."""
        if leave_closed and name == EDGE_TPU:
            return f"{_library(name)} is here; not opened, for this agent may have it open"
        try:
            model = _load(_SMALLEST, 1, None if name == CPU else _delegate(name))
            model.infer([np.ones((1, 4), np.float32)])
        except _REFUSALS as e:
            raise ModelError(Code.ACCELERATOR_FAILED, f"LiteRT can't use {name}: {first_line(e)}") from e
        if name == CPU:
            return "this board's processor" + (", with XNNPACK" if model.is_delegated else ", without XNNPACK")
        return LIBRARIES[name][0] if name in LIBRARIES else name


def _load(path: Path, threads: int, delegate: Any) -> "LiteRTModel":
    delegates = [delegate] if delegate is not None else None
    interpreter = Interpreter(model_path=str(path), num_threads=threads, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    return LiteRTModel(interpreter)


def _delegate(name: str) -> Any:
    """A delegate by its name, or by the path of its library.

    Raises:
        ModelError: `AcceleratorMissing` or `AcceleratorFailed`.
    """
    library = _library(name)
    try:
        return load_delegate(library)
    except (*_REFUSALS, OSError, AttributeError) as e:
        raise ModelError(
            Code.ACCELERATOR_FAILED, f"{library} is here and finds nothing to run on: {_last_line(e)}"
        ) from e


def _library(name: str) -> str:
    """The library of a delegate, which is there and loads.

    Raises:
        ModelError: `AcceleratorMissing` or `AcceleratorFailed`.
    """
    library, todo = LIBRARIES.get(
        name, (name, f"it must be one of {', '.join((CPU, *LIBRARIES))}, or a library's path")
    )
    try:
        ctypes.CDLL(library)
    except OSError as e:
        if "No such file" not in str(e) or library not in str(e).partition(":")[0]:
            raise ModelError(Code.ACCELERATOR_FAILED, f"{library} is here and doesn't load: {e}") from e
        raise ModelError(Code.ACCELERATOR_MISSING, f"no {library} on this board, which {name} needs: {todo}") from e
    return library


class LiteRTModel:
    """Implements `EngineModel`."""

    handover_s = 0.0

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._signature = Signature(inputs=tuple(_spec(d) for d in inputs), outputs=tuple(_spec(d) for d in outputs))
        self._inputs = [(int(d["index"]), s) for d, s in zip(inputs, self._signature.inputs, strict=True)]
        self._outputs = [(int(d["index"]), s) for d, s in zip(outputs, self._signature.outputs, strict=True)]
        places = [index for index, _ in self._outputs]
        self._detections = detections_of(interpreter._get_ops_details(), places)
        self._view = interpreter.tensor(self._inputs[0][0]) if inputs else None

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the file has them."""
        return self._signature

    @property
    def is_delegated(self) -> bool:
        """Whether a delegate took over any of its operators."""
        return any(op["op_name"] == "DELEGATE" for op in self._interpreter._get_ops_details())

    def rss_bytes(self) -> int | None:
        """Of this process."""
        return rss_bytes()

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once."""
        try:
            for (index, spec), value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, quantized(value, spec))
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT refused an input: {first_line(e)}") from e
        return self._run()

    def infer_in_place(self, write: Write, raw: np.ndarray[Any, Any]) -> list[Tensor]:
        """Run once on what `write` puts into the input."""
        # The view goes before the model runs: LiteRT refuses to while anything points into its memory.
        if self._view is not None:
            write(raw, self._view().reshape(-1))
        return self._run()

    def run_stored(self, inputs: Sequence[np.ndarray[Any, Any]], outputs: Sequence[np.ndarray[Any, Any]]) -> None:
        """Run once, from and into arrays of the tensors' own types and shapes."""
        try:
            for (index, _), value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, value)
            self._interpreter.invoke()
            found = self._cleared([self._interpreter.get_tensor(index) for index, _ in self._outputs])
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT failed: {first_line(e)}") from e
        store(found, outputs)

    def _run(self) -> list[Tensor]:
        try:
            self._interpreter.invoke()
            found = [dequantized(self._interpreter.get_tensor(index), spec) for index, spec in self._outputs]
            return self._cleared(found)
        except _REFUSALS as e:
            raise ModelError(Code.INTERNAL, f"LiteRT failed: {first_line(e)}") from e

    def _cleared(self, found: list[Tensor]) -> list[Tensor]:
        if self._detections is not None:
            clear(found, self._detections)
        return found


def _last_line(error: Exception) -> str:
    """What a library said of itself; before it stands that it failed."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:300]


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
_NO_MODEL = ("model identifier", "valid Flatbuffer", "schema version", "Could not open", "mmap of size 0")
"""What is no model at all. Everything else that it refuses is a model at odds with itself: indices, shapes, sizes."""
_NODE = re.compile(r"Node number \d+ \(\w+\)")


def _named(line: str, whole: str) -> str:
    """`line`, and the operator that LiteRT names only at the end of what it says."""
    node = _NODE.search(whole)
    return line if node is None or node[0] in line else f"{line[:120]} ({node[0]})"
