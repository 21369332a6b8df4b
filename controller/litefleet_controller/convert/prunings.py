"""Pruned models: from the cache, or by a worker, once for all recipes that prune alike.

The step between the frozen source and its variants. Runs in the controller's process; what pruning is stands in
pruning/.
"""

import asyncio
import tempfile
from pathlib import Path

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.cache import EntryFolder, PrunedEntry, PrunedKey, RefusalEntry, key_hash
from litefleet_controller.convert.flights import Flights
from litefleet_controller.convert.handover import Listener, adopt, local, remembered, unasked
from litefleet_controller.convert.progress.steps import Now
from litefleet_controller.convert.progress.stopwatch import Stopwatch
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.tasks import FROZEN_FILE, Freeze, Prune, PrunedModel, Quantize, Refused, Stage


class Prunings:
    """Prunes, and remembers."""

    def __init__(self, blobs: Blobs, cache: Path, pool: WorkerPool, now: Now) -> None:
        self._blobs = blobs
        self._pool = pool
        self._now = now
        self._entries: EntryFolder[PrunedEntry | RefusalEntry] = EntryFolder(
            cache / "pruned", PrunedEntry | RefusalEntry
        )
        self._flights: Flights[PrunedEntry | RefusalEntry, Stage] = Flights()

    async def make(self, key: PrunedKey, listener: Listener) -> PrunedEntry | RefusalEntry:
        """The pruned model that `key` decides.

        Raises: ConversionError.
        """
        name = key_hash(key)
        if (entry := await remembered(self._entries, self._blobs, name)) is not None:
            return entry
        return await self._flights.join(name, lambda tell: self._prune(key, name, tell), listener)

    async def _prune(self, key: PrunedKey, name: str, tell: Listener) -> PrunedEntry | RefusalEntry:
        source = await local(self._blobs, key.source, "source")
        frozen = await local(self._blobs, key.model, "frozen model")
        training = await local(self._blobs, key.training.digest, "training set") if key.training else None
        entry: PrunedEntry | RefusalEntry
        async with self._pool.worker(Freeze if training else Quantize) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                task = Prune(
                    folder=folder,
                    source=str(source),
                    source_format=key.source_format,
                    frozen=str(frozen),
                    preprocess=key.preprocess,
                    pruning=key.pruning,
                    training=str(training) if training else None,
                    trained_on=key.training,
                )
                watch = Stopwatch("prune", tell, self._now)
                match await worker.ask(task, watch):
                    case Refused(code=code, message=message):
                        entry = RefusalEntry(code=code, message=message)
                    case PrunedModel(pruned=pruned):
                        entry = PrunedEntry(
                            model=(await adopt(self._blobs, Path(folder) / FROZEN_FILE))[0],
                            pruned=pruned,
                            step=watch.step(worker.containment),
                        )
                    case _:
                        raise unasked()
        await asyncio.to_thread(self._entries.write, name, entry)
        return entry
