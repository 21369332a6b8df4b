"""Where a step of a conversion is done: a worker's time, a scratch folder that goes, and blobs for what stays."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert import handover
from litefleet_controller.convert.cache import RefusalEntry
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.progress.steps import Now, Step, StepName
from litefleet_controller.convert.progress.stopwatch import Stopwatch
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.process import WorkerProcess
from litefleet_controller.convert.workers.tasks import Refused, Result, Task

R = TypeVar("R", bound=Result)


class Turn:
    """A worker for one task, and the folder that it writes to."""

    def __init__(self, blobs: Blobs, worker: WorkerProcess, folder: str, watch: Stopwatch) -> None:
        self.folder = folder
        """For the task; gone when the turn is over, like what the worker was handed."""
        self._blobs = blobs
        self._worker = worker
        self._watch = watch

    async def hand(self, digest: str, what: str) -> str:
        """Let the worker read a blob; where it finds it. `what` names it in errors.

        Raises: ConversionError (`NotFound`, `DigestMismatch` or `StorageFailed`).
        """
        return str(await handover.hand(self._blobs, digest, what, self._worker))

    async def ask(self, task: Task, kind: type[R]) -> R | RefusalEntry:
        """Have `task` done.

        Raises:
            ConversionError: the worker failed, or answers something else than a `kind`.
        """
        done = await self._worker.ask(task, self._watch)
        if isinstance(done, Refused):
            return RefusalEntry(code=done.code, message=done.message)
        if not isinstance(done, kind):
            raise ConversionError("WorkerCrashed", "the worker answers what wasn't asked", final=False)
        return done

    def step(self) -> Step:
        """What the task came to, once it is done."""
        return self._watch.step(self._worker.containment)

    async def adopt(self, name: str) -> tuple[str, int]:
        """A file that the task made, as a blob; digest and size.

        Raises: ConversionError (`StorageFailed`).
        """
        return await handover.adopt(self._blobs, Path(self.folder) / name)

    async def keep(self, name: str) -> str:
        """The same for a large file, piece by piece; its digest.

        Raises: ConversionError (`StorageFailed`).
        """
        return await handover.keep(self._blobs, Path(self.folder) / name)

    async def adopt_examination(self, name: str) -> str:
        """The same for what it says of a variant's answers; its digest.

        Raises: ConversionError (`WorkerCrashed` or `StorageFailed`).
        """
        return await handover.adopt_examination(self._blobs, Path(self.folder) / name)


@dataclass(frozen=True, slots=True)
class Workbench:
    """What all steps share."""

    blobs: Blobs
    cache: Path
    """Folder of what was computed before."""
    pool: WorkerPool
    now: Now

    @asynccontextmanager
    async def turn(self, kind: type[Task], name: StepName, listener: Listener) -> AsyncIterator[Turn]:
        """A worker that suits tasks of `kind`; waits for one.

        Raises: ConversionError (`WorkerCrashed`).
        """
        async with self.pool.worker(kind) as worker:
            try:
                with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                    yield Turn(self.blobs, worker, folder, Stopwatch(name, listener, self.now))
            finally:
                await worker.take_back()
