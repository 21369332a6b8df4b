"""Frozen sources: the one form that everything else is made of, and the source's own answers."""

from litefleet_controller.convert.cache import FrozenEntry, FrozenKey, RefusalEntry
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import ANSWERS_FILE, FROZEN_FILE, Freeze, Frozen, Inspect


class Freezings:
    """Freezes, and remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._kept: Kept[FrozenKey, FrozenEntry] = Kept(bench, "frozen", FrozenEntry, self._freeze)

    async def get(self, key: FrozenKey, listener: Listener) -> FrozenEntry:
        """The frozen source that `key` decides.

        Raises: ConversionError.
        """
        return await self._kept.get(key, listener)

    async def _freeze(self, key: FrozenKey, tell: Listener) -> FrozenEntry:
        kind = Inspect if key.source_format == "tflite" else Freeze
        async with self._bench.turn(kind, "freeze", tell) as turn:
            source = await turn.hand(key.source, "source")
            evaluation = await turn.hand(key.evaluation, "evaluation set")
            done = await turn.ask(_task(key, turn.folder, source, evaluation), Frozen)
            if isinstance(done, RefusalEntry):
                raise ConversionError(done.code, done.message, final=True)
            return FrozenEntry(
                model=(await turn.adopt(FROZEN_FILE))[0],
                answers=(await turn.adopt(ANSWERS_FILE))[0],
                classes=done.classes,
                outputs=done.outputs,
                recipe=done.recipe,
                step=turn.step(),
            )


def _task(key: FrozenKey, folder: str, source: str, evaluation: str) -> Freeze | Inspect:
    if key.source_format == "tflite":
        return Inspect(
            folder=folder,
            source=source,
            evaluation=evaluation,
            metric=key.metric,
            input_shape=key.input_shape,
            preprocess=key.preprocess,
        )
    return Freeze(
        folder=folder,
        source=source,
        source_format=key.source_format,
        source_signature=key.source_signature,
        evaluation=evaluation,
        metric=key.metric,
        input_shape=key.input_shape,
        preprocess=key.preprocess,
    )
