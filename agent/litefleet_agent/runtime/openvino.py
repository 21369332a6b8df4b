"""OpenVINO: the only importer of openvino on the board. Reads its IR, `model.xml` with `model.bin` beside it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
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

_CONVERTER = "openvino.tools.ovc"
if "openvino" in sys.modules:
    import openvino
else:
    # OpenVINO imports its converter where it is installed, and with it 16 MiB and what reports home who converts. A
    # board needs neither; None stands for a module that isn't there.
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTER]

CPU = "CPU"


class OpenVino:
    """Implements `Runtime`."""

    @property
    def version(self) -> str:
        """As 2026.4.1, without the build's number."""
        return str(openvino.__version__).partition("-")[0]

    def load(
        self,
        path: Path,
        *,
        threads: int,
        digest: str,
        beside: Mapping[str, str] = NOTHING_BESIDE,
        accelerator: str = "",
        calm: Callable[[], None] = at_once,
    ) -> "OpenVinoModel":
        """Load an `.xml` file."""
        check_files(path, digest, beside)
        core = _core()
        device = accelerator or CPU
        self._check_device(core, device)
        calm()
        try:
            compiled = core.compile_model(
                core.read_model(path, path.with_suffix(".bin")), device, _how(device, threads)
            )
            return OpenVinoModel(compiled)
        except (RuntimeError, ValueError) as e:
            raise ModelError(_load_code(str(e), device), f"OpenVINO can't load it: {_reason(e)}") from e

    def accelerators(self) -> Sequence[str]:
        """What its plug-ins found on this board."""
        found = [str(name) for name in _core().available_devices]
        return [CPU, *(name for name in found if name != CPU)]

    def try_accelerator(self, name: str, *, leave_closed: bool = False) -> str:  # noqa: ARG002 - it has none of those
        """Compile and run a model of one operator on it."""
        core = _core()
        self._check_device(core, name)
        try:
            compiled = core.compile_model(_smallest(), name)
            compiled.create_infer_request().infer([np.ones((1, 4), np.float32)])
            return str(core.get_property(name, "FULL_DEVICE_NAME")).strip()
        except RuntimeError as e:
            raise ModelError(Code.ACCELERATOR_FAILED, f"OpenVINO can't use {name}: {_reason(e)}") from e

    def _check_device(self, core: Any, name: str) -> None:
        """A device that it doesn't have is no fault of the model's."""
        found = [str(device) for device in core.available_devices]
        if name.partition(".")[0] not in {device.partition(".")[0] for device in found}:
            raise ModelError(
                Code.ACCELERATOR_MISSING,
                f"OpenVINO {self.version} finds no {name} on this board; it has {', '.join(found)} (its driver may be "
                "missing; [runtime] accelerator in the agent's configuration says which one is used)",
            )


@cache
def _core() -> Any:
    """One for the process, and kept to its end.

    Where the processor has AMX, the plug-in gives the thread that loads it a signal stack in the plug-in's own memory.
    With the last core it would be unloaded, and the next signal to that thread would kill the process.
    """
    return openvino.Core()


class OpenVinoModel:
    """Implements `EngineModel`."""

    handover_s = 0.0

    def __init__(self, compiled: Any) -> None:
        """Take up what OpenVINO compiled.

        Raises:
            RuntimeError: a tensor without a fixed shape.
        """
        self._signature = Signature(
            inputs=tuple(map(_spec, compiled.inputs)), outputs=tuple(map(_spec, compiled.outputs))
        )
        self._request = compiled.create_infer_request()
        # Views of OpenVINO's own memory, which stays where it is: what is written here is what it computes on.
        self._inputs = [self._request.get_input_tensor(n).data for n in range(len(self._signature.inputs))]

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the graph has them."""
        return self._signature

    def rss_bytes(self) -> int | None:
        """Of this process."""
        return rss_bytes()

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once."""
        self._fill([quantized(value, spec) for value, spec in zip(inputs, self._signature.inputs, strict=True)])
        return self._answers()

    def infer_in_place(self, write: Write, raw: NDArray[Any]) -> list[Tensor]:
        """Run once on what `write` puts into the input."""
        write(raw, self._inputs[0].reshape(-1))
        return self._answers()

    def run_stored(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
        """Run once, from and into arrays of the tensors' own types and shapes."""
        self._fill(inputs)
        store(self._run(), outputs)

    def _fill(self, inputs: Sequence[NDArray[Any]]) -> None:
        for n, (view, value) in enumerate(zip(self._inputs, inputs, strict=True)):
            if view.shape != value.shape:
                raise ModelError(Code.BAD_SHAPE, f"input {n} is {list(value.shape)}; it should be {list(view.shape)}")
            view[...] = value

    def _answers(self) -> list[Tensor]:
        # Copied: the next inference writes into the same memory.
        return [
            dequantized(found.copy(), spec) for found, spec in zip(self._run(), self._signature.outputs, strict=True)
        ]

    def _run(self) -> list[NDArray[Any]]:
        try:
            self._request.infer()
            return [self._request.get_output_tensor(n).data for n in range(len(self._signature.outputs))]
        except RuntimeError as e:
            code = Code.MEMORY_LIMIT if any(sign in str(e) for sign in _NO_MEMORY) else Code.INTERNAL
            raise ModelError(code, f"OpenVINO failed: {_reason(e)}") from e


def _how(device: str, threads: int) -> dict[str, Any]:
    if device != CPU:
        return {}
    # In float32 also where the processor could compute in less: the golden samples were made so.
    return {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def _spec(port: Any) -> TensorSpec:
    return TensorSpec(
        name=str(port.any_name) if port.names else str(port.node.friendly_name),
        shape=tuple(int(n) for n in port.shape),
        dtype=np.dtype(port.element_type.to_dtype()).name,
    )


def _smallest() -> Any:
    from openvino import opset13

    x = opset13.parameter([1, 4], np.float32)
    return openvino.Model([opset13.relu(x)], [x], "smallest")


def _load_code(message: str, device: str) -> Code:
    if any(sign in message for sign in _NO_MEMORY):
        return Code.MEMORY_LIMIT
    if any(sign in message for sign in _UNSUPPORTED):
        return Code.UNSUPPORTED_OP
    if any(sign in message for sign in _NO_MODEL):
        return Code.FORMAT_MISMATCH
    return Code.BAD_SHAPE if device == CPU else Code.ACCELERATOR_FAILED


_NO_MEMORY = ("bad_alloc", "Failed to allocate", "Cannot allocate memory")
_UNSUPPORTED = ("doesn't contain the operation", "unsupported opset", "Unsupported operation", "not supported")
_NO_MODEL = ("Unable to read the model", "pugi::status_ok", "Incorrect weights in bin file")
"""What is no model at all, or two files that don't belong together."""


def _reason(error: Exception) -> str:
    """The last thing that it says; before it stands where in its source it was said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from ", "Check '"))]
    return told[-1][:300] if told else first_line(error)
