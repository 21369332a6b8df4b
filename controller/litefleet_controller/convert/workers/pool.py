"""Workers that are kept warm for the next task, and let go when they have done enough or nobody needs them.

Two kinds: one has tensorflow loaded (0.6 GB, seconds to start), the other only the quantizer (0.2 GB). A worker that
has tensorflow quantizes, too, when it is idle and no other is: importing the quantizer anew costs a second of CPU, as
much as making four variants of a small model. A `.tflite` file or images that aren't ours are opened in a process that
did nothing before and does nothing after: what they do to the memory there befalls nobody else's model. At most `size`
tasks run at a time, whatever their kind; the rest wait in the order they came.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.limits import PoolLimits
from litefleet_controller.convert.workers.process import WorkerProcess
from litefleet_controller.convert.workers.tasks import Decode, Freeze, Inspect, Task

log = structlog.get_logger(__name__)

_ALONE: frozenset[type[Task]] = frozenset({Inspect, Decode})
"""Tasks whose file may break the process that opens it."""


@dataclass(slots=True)
class _Idle:
    worker: WorkerProcess
    ends: asyncio.TimerHandle


class WorkerPool:
    """Runs tasks in worker processes."""

    def __init__(self, scratch: Path, limits: PoolLimits, *, size: int, private: Path | None = None) -> None:
        """Make an empty pool. `scratch` is emptied: what is there was left by a controller that was killed."""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._scratch = scratch
        self._limits = limits
        self._private = private
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._idle: dict[type[Task], list[_Idle]] = {}
        self._busy: set[WorkerProcess] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._lacks: tuple[str, ...] | None = None

    @property
    def pids(self) -> list[int]:
        """Processes that run now, busy ones first."""
        return [w.pid for w in self._busy] + [i.worker.pid for idle in self._idle.values() for i in idle]

    @asynccontextmanager
    async def worker(self, kind: type[Task]) -> AsyncIterator[WorkerProcess]:
        """A worker for one task of `kind`; waits for a free place.

        Raises: ConversionError (`WorkerCrashed`) when no process can be started.
        """
        async with self._slots:
            self._check_open()
            kind, worker = await self._take(kind)
            self._busy.add(worker)
            try:
                self._check_open()  # starting a process takes a while, too
                yield worker
            finally:
                self._busy.discard(worker)
                self._note(worker)
                self._give_back(kind, worker)

    async def close(self) -> None:
        """End all workers; returns when none is left. Whoever waits for one gets an error."""
        self._is_closed = True
        idle = [i for kept in self._idle.values() for i in kept]
        self._idle.clear()
        for entry in idle:
            entry.ends.cancel()
        for worker in [*self._busy, *(i.worker for i in idle)]:
            await worker.close()
        for _ in range(self._size):
            await self._slots.acquire()
        for _ in range(self._size):
            self._slots.release()
        if self._ending:
            await asyncio.wait(self._ending)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConversionError("WorkerCrashed", "the converter is shutting down", final=False)

    async def _take(self, kind: type[Task]) -> tuple[type[Task], WorkerProcess]:
        """A worker for `kind`, and the kind that it is kept as afterwards."""
        for able in () if kind in _ALONE else (kind, Freeze):
            if (worker := self._take_idle(able)) is not None:
                return able, worker
        try:
            return kind, await WorkerProcess.start(self._scratch, self._limits.worker, self._private)
        except OSError as e:
            raise ConversionError("WorkerCrashed", f"no conversion worker can be started: {e}", final=False) from e

    def _take_idle(self, kind: type[Task]) -> WorkerProcess | None:
        kept = self._idle.get(kind, [])
        while kept:
            entry = kept.pop()
            entry.ends.cancel()
            if entry.worker.is_alive:
                return entry.worker
            self._end(entry.worker)
        return None

    def _note(self, worker: WorkerProcess) -> None:
        """Say once what this machine doesn't give to close workers in."""
        if worker.containment is not None and self._lacks is None:
            self._lacks = worker.containment.missing
            if self._lacks:
                log.warning("conversion workers are not fully contained", missing=list(self._lacks))

    def _give_back(self, kind: type[Task], worker: WorkerProcess) -> None:
        is_spent = worker.tasks >= self._limits.recycle_after or worker.rss_bytes() > self._limits.recycle_above_bytes
        if self._is_closed or not worker.is_well or is_spent or kind in _ALONE:
            self._end(worker)
            return
        loop = asyncio.get_running_loop()
        entry = _Idle(worker, loop.call_later(self._limits.idle_seconds, lambda: self._retire(kind, worker)))
        self._idle.setdefault(kind, []).append(entry)

    def _retire(self, kind: type[Task], worker: WorkerProcess) -> None:
        self._idle[kind] = [i for i in self._idle.get(kind, []) if i.worker is not worker]
        log.debug("conversion worker retired", pid=worker.pid, kind=kind.__name__)
        self._end(worker)

    def _end(self, worker: WorkerProcess) -> None:
        task = asyncio.create_task(worker.close(), name=f"convert-end-{worker.pid}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
