"""The port to an engine. A model takes and gives float32; whatever it is inside is the engine's business."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from litefleet_agent.errors import AgentError
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Signature

Tensor = NDArray[np.float32]
Write = Callable[[NDArray[Any], NDArray[Any]], None]
"""Writes an input (the first) into a tensor's memory (the second: flat, of the tensor's type). It must not raise."""


class ModelError(AgentError):
    """A model that can't be loaded or run: `FormatMismatch`, `BadShape`, `DigestMismatch`, `BadOutput`, `Internal`.

    `BadMessage` when the input is to blame; `RuntimeMissing`, `RuntimeBroken`, `AcceleratorMissing` or
    `AcceleratorFailed` when the board is.
    """


NOTHING_BESIDE: Mapping[str, str] = MappingProxyType({})


def at_once() -> None:
    """Wait for nothing."""


class LoadedModel(Protocol):
    """A model in memory. Not thread-safe: one inference at a time."""

    handover_s: float
    """Of the last inference: what went into handing it to another process and back, which is not the model's doing."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the engine has them."""
        ...

    def rss_bytes(self) -> int | None:
        """Resident memory of the process that the model runs in; None where the system doesn't tell."""
        ...

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once. Tensors have the signature's shapes, the batch of 1 included; float32, quantized inside.

        Raises:
            ModelError: the engine refused the input or failed.
        """
        ...

    def infer_in_place(self, write: Write, raw: NDArray[Any]) -> list[Tensor]:
        """Run once, for a model with one input, on what `write(raw, memory)` puts into that input's own memory.

        Nothing is copied, which is what makes pre-processing cost no more than handing over a finished tensor.

        Raises:
            ModelError: the engine failed.
        """
        ...


class EngineModel(LoadedModel, Protocol):
    """A model in this very process."""

    def run_stored(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
        """Run once, from and into arrays of the tensors' own types and shapes.

        Raises:
            ModelError: the engine failed, or an output has another shape than the signature says.
        """
        ...


class Runtime(Protocol):
    """An engine: loads models, and knows what it could run them on."""

    @property
    def version(self) -> str:
        """Its release."""
        ...

    def load(
        self,
        path: Path,
        *,
        threads: int,
        digest: str,
        beside: Mapping[str, str] = NOTHING_BESIDE,
        accelerator: str = "",
        calm: Callable[[], None] = at_once,
    ) -> EngineModel:
        """Load a file whose SHA-256 must be `digest`, and those `beside` it (name to digest), which it needs.

        They must stay where they are while the model lives. `accelerator` is one of `accelerators()`, the processor
        when empty. `calm` is called before what holds up the process's other threads.

        Raises:
            ModelError: `DigestMismatch`, `FormatMismatch`, `BadShape`, `UnsupportedOp`, `MemoryLimit`,
                `AcceleratorMissing`, `AcceleratorFailed` or `Internal`.
        """
        ...

    def accelerators(self) -> Sequence[str]:
        """Names of what this engine could run models on, whether this board has it or not; the processor first."""
        ...

    def try_accelerator(self, name: str, *, leave_closed: bool = False) -> str:
        """Run something small on one of them; what it is, in words. May crash: called in child processes only.

        `leave_closed`: of those that one process at a time may open (`exclusive`), only look whether they are there.

        Raises:
            ModelError: `AcceleratorMissing` with what to install, `AcceleratorFailed` for what is there and won't.
        """
        ...


def first_line(error: Exception) -> str:
    """What an engine says, without the rest of its story."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def store(found: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
    """Copy what an engine gave into arrays of the shapes that its signature has.

    Raises:
        ModelError: `BadShape` for an output that came out in another.
    """
    for n, (into, output) in enumerate(zip(outputs, found, strict=True)):
        if into.shape != output.shape:
            raise ModelError(
                Code.BAD_SHAPE, f"output {n} came out as {list(output.shape)}; it should be {list(into.shape)}"
            )
        into[...] = output


def is_finite(tensor: Tensor) -> bool:
    """By the largest and the smallest value, which NaN counts as both of: half the cost of `isfinite(...).all()`."""
    return not tensor.size or (
        math.isfinite(tensor.item(tensor.argmax())) and math.isfinite(tensor.item(tensor.argmin()))
    )


def mismatch(expected: Signature, found: Signature) -> tuple[Code, str] | None:
    """How a model differs from what its manifest says: `BadShape` for shapes, `SignatureChanged` for the rest."""
    for kind, want, have in (("input", expected.inputs, found.inputs), ("output", expected.outputs, found.outputs)):
        if len(want) != len(have):
            return Code.SIGNATURE_CHANGED, f"{len(have)} {kind}s; the manifest says {len(want)}"
        for n, (w, h) in enumerate(zip(want, have, strict=True)):
            if w.shape != h.shape:
                return Code.BAD_SHAPE, f"{kind} {n} is {list(h.shape)}; the manifest says {list(w.shape)}"
            if w.dtype != h.dtype:
                return Code.SIGNATURE_CHANGED, f"{kind} {n} is {h.dtype}; the manifest says {w.dtype}"
    return None
