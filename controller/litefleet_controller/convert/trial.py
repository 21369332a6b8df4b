"""A model run on the evaluation set and compared with its source. Runs in workers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_controller.convert.datasets import Evaluation
from litefleet_controller.convert.engines.interface import Runner, Timed, run
from litefleet_controller.convert.latency import Hint, hint_of
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import RungError
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName


@dataclass(frozen=True, slots=True)
class Tried:
    """A model and what it came to."""

    runner: Runner
    outputs: list[Floats]
    agreement: float
    """Share of samples with the source's top answer."""
    accuracy: float
    hint: Hint
    model: bytes = b""
    """The `.tflite` file; nothing for other engines."""


class Trial:
    """Tries models, one after the other."""

    def __init__(self, folder: Path, evaluation: Evaluation, source: Floats, stage: Callable[[str, int], None]) -> None:
        """`source`: float32 (N, classes), what the source answers to the evaluation's inputs."""
        self._folder = folder
        self._evaluation = evaluation
        self._source = source
        self._stage = stage
        self._expected = source.argmax(axis=1)
        self.source_accuracy = float((self._expected == evaluation.y).mean())

    def __call__(self, model: bytes) -> Tried:
        """Write a `.tflite` file and run it as a board does.

        Raises:
            RungError: `BadShape` or `BadOutput`.
        """
        from litefleet_controller.convert.engines.litert import LiteRTRunner

        path = self._folder / MODEL_FILES[RuntimeName.LITERT][0]
        path.write_bytes(model)
        return self.of(LiteRTRunner(path), model)

    def of(self, runner: Runner, model: bytes = b"") -> Tried:
        """Run what is loaded already.

        Raises:
            RungError: `BadOutput` or `BadShape`.
        """
        self._stage("evaluating", 60)
        timed = Timed(runner)
        outputs = run(timed, self._evaluation.x, lambda share: self._stage("evaluating", 60 + int(38 * share)))
        _check_outputs(outputs[0], self._source)
        answers = outputs[0].argmax(axis=1)
        return Tried(
            runner,
            outputs,
            agreement=float((answers == self._expected).mean()),
            accuracy=float((answers == self._evaluation.y).mean()),
            hint=hint_of(timed.seconds),
            model=model,
        )


def _check_outputs(got: Floats, source: Floats) -> None:
    if got.shape != source.shape:
        raise RungError("BadShape", f"the variant answers with the shape {got.shape}, the source with {source.shape}")
    bad = int(np.sum(~np.isfinite(got).all(axis=1)))
    if bad:
        raise RungError("BadOutput", f"the variant answers NaN or infinity for {bad} of {len(got)} samples")
