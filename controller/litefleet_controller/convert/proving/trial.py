"""A model run on the evaluation set and compared with its source. Runs in workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.convert.engines.interface import Runner, Timed
from litefleet_controller.convert.engines.sharing import run_shared
from litefleet_controller.convert.latency import Hint, hint_of
from litefleet_controller.convert.proving.answers import unanswered
from litefleet_controller.convert.proving.comparing import Score, Yardstick
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName


@dataclass(frozen=True, slots=True)
class Tried:
    """A model and what it came to."""

    runner: Runner
    outputs: list[Floats]
    score: Score
    hint: Hint
    model: bytes = b""
    """The `.tflite` file; nothing for other engines."""


class Trial:
    """Tries models, one after the other."""

    def __init__(
        self, folder: Path, x: Floats, source: Sequence[Floats], yardstick: Yardstick, stage: Callable[[str, int], None]
    ) -> None:
        """`x`: the evaluation's inputs (N, ...); `source`: the source's answers to them, (N, ...) an output."""
        self._folder = folder
        self._x = x
        self._shapes = [y.shape for y in source]
        self._yardstick = yardstick
        self._stage = stage

    @property
    def source_accuracy(self) -> float | None:
        """None where the metric isn't accuracy."""
        return self._yardstick.source_accuracy

    def __call__(self, model: bytes) -> Tried:
        """Write a `.tflite` file and run it as a board does.

        Raises:
            RungError: `BadShape` or `BadOutput`.
        """
        from litefleet_controller.convert.engines.litert import LiteRTRunner

        path = self._folder / MODEL_FILES[RuntimeName.LITERT][0]
        path.write_bytes(model)
        return self.of(lambda: LiteRTRunner(path), model)

    def of(self, load: Callable[[], Runner], model: bytes = b"") -> Tried:
        """Run what `load` gives.

        Raises:
            RungError: `BadOutput` or `BadShape`.
        """
        runner = load()
        self._stage("evaluating", 60)
        timed = Timed(runner)
        outputs = run_shared(timed, load, self._x, lambda share: self._stage("evaluating", 60 + int(38 * share)))
        self._check(outputs)
        return Tried(runner, outputs, self._yardstick.score(outputs), hint_of(timed.seconds), model)

    def _check(self, outputs: Sequence[Floats]) -> None:
        shapes = [y.shape for y in outputs]
        if shapes != self._shapes:
            got, wanted = (", ".join(str(shape) for shape in each) for each in (shapes, self._shapes))
            raise RungError("BadShape", f"the variant answers with the shape {got}, the source with {wanted}")
        if bad := unanswered(outputs):
            raise RungError("BadOutput", f"the variant answers NaN or infinity for {bad} of {len(self._x)} samples")
