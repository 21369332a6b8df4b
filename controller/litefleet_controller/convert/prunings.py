"""Pruned models: the step between the frozen source and its variants, once for all recipes that prune alike.

Runs in the controller's process; what pruning is stands in making/pruning/.
"""

from litefleet_controller.convert.cache import PrunedEntry, PrunedKey, RefusalEntry
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import FROZEN_FILE, Freeze, Prune, PrunedModel, Quantize


class Prunings:
    """Prunes, and remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._kept: Kept[PrunedKey, PrunedEntry | RefusalEntry] = Kept(
            bench, "pruned", PrunedEntry | RefusalEntry, self._prune
        )

    async def get(self, key: PrunedKey, listener: Listener) -> PrunedEntry | RefusalEntry:
        """The pruned model that `key` decides.

        Raises: ConversionError.
        """
        return await self._kept.get(key, listener)

    async def _prune(self, key: PrunedKey, tell: Listener) -> PrunedEntry | RefusalEntry:
        async with self._bench.turn(Freeze if key.training else Quantize, "prune", tell) as turn:
            task = Prune(
                folder=turn.folder,
                source=await turn.hand(key.source, "source"),
                source_format=key.source_format,
                frozen=await turn.hand(key.model, "frozen model"),
                preprocess=key.preprocess,
                pruning=key.pruning,
                training=await turn.hand(key.training.digest, "training set") if key.training else None,
                trained_on=key.training,
            )
            done = await turn.ask(task, PrunedModel)
            if isinstance(done, RefusalEntry):
                return done
            return PrunedEntry(model=(await turn.adopt(FROZEN_FILE))[0], pruned=done.pruned, step=turn.step())
