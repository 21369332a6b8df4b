"""The port to an engine in a worker: make its form of a model of the frozen source, and run it as a board would.

An engine's libraries are imported when its recipe is asked for: a worker that makes LiteRT variants only never loads
another engine.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Engine, Recipe
from litefleet_protocol.tensors import Signature

Tick = Callable[[float], None]
"""Gets the share of the samples that is done."""
_TICK_EVERY = 100


class Runner(Protocol):
    """One loaded model with one input. float32 goes in and out, whatever it is inside."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the engine has them."""
        ...

    def infer(self, sample: Floats) -> list[Floats]:
        """Run one input (1, ...); each output (1, ...), float32, not shared with the next inference.

        Raises: ValueError, RuntimeError.
        """
        ...


class Form(Protocol):
    """An engine's kind of file, where it isn't the frozen file itself."""

    def write(self, frozen: Path, how: Recipe, folder: Path) -> dict[str, int]:
        """Write the engine's MODEL_FILES into `folder`; how often each operator stands in them.

        `frozen` has its weights inside and ends in `.tflite`. The same content gives the same bytes.

        Raises:
            RungError: `UnsupportedOp` or `ConversionFailed`.
        """
        ...

    def load(self, path: Path) -> Runner:
        """A runner of the first of those files, on one thread of the processor.

        Raises:
            RungError: `BadShape`, when the engine can't load it.
        """
        ...


def form(engine: Engine) -> Form:
    """The engine's form.

    Raises:
        ValueError: LiteRT has none here: what it runs is what quantize.py makes.
    """
    match engine:
        case "openvino":
            from litefleet_controller.convert.engines.openvino import OpenVinoForm

            return OpenVinoForm()
        case "onnxruntime":
            from litefleet_controller.convert.engines.onnx import OnnxForm

            return OnnxForm()
    raise ValueError(engine)


class Timed:
    """A runner that notes how long each inference took, float32 to float32. Implements `Runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.seconds: list[float] = []

    @property
    def signature(self) -> Signature:
        """The runner's."""
        return self._runner.signature

    def infer(self, sample: Floats) -> list[Floats]:
        """Run one input."""
        begun = time.perf_counter()
        outputs = self._runner.infer(sample)
        self.seconds.append(time.perf_counter() - begun)
        return outputs


def stacked(samples: list[Floats]) -> Floats:
    """One output of N inferences as (N, ...): the samples take the place of the batch of 1 where there is one."""
    whole = np.stack(samples)
    return whole[:, 0] if whole.ndim > 1 and whole.shape[1] == 1 else whole


def run(runner: Runner, x: Floats, tick: Tick = lambda _: None) -> list[Floats]:
    """Run inputs (N, ...) one by one; for each output its values, float32 (N, ...).

    Raises:
        RungError: `BadOutput`, when the engine fails on an input.
    """
    answers: list[list[Floats]] = [[] for _ in runner.signature.outputs]
    for number, sample in enumerate(x):
        try:
            outputs = runner.infer(sample[np.newaxis])
        except (ValueError, RuntimeError) as e:
            raise RungError("BadOutput", f"the variant can't be run: {first_line(e)}") from e
        for collected, output in zip(answers, outputs, strict=True):
            collected.append(output)
        if number % _TICK_EVERY == 0:
            tick(number / len(x))
    return [stacked(a) for a in answers]


def first_line(error: Exception) -> str:
    """What an engine says, without the rest of its story, and without the place in its source that it begins with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from ")]
    return (told or lines or [type(error).__name__])[0][:240]
