"""From a proven variant to what a class's accelerator gets: foretold, and compiled where the compiler is installed.

Runs in the controller's process and asks the workers. What came of it is remembered by the model and the compiler.
"""

import asyncio
import hashlib
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.cache import Entry, EntryFolder, RefusalEntry
from litefleet_controller.convert.handover import Listener, adopt, unasked
from litefleet_controller.convert.progress.steps import Now, Step
from litefleet_controller.convert.progress.stopwatch import Stopwatch
from litefleet_controller.convert.targets.compilation import Compilation
from litefleet_controller.convert.targets.edgetpu import compiler
from litefleet_controller.convert.targets.interface import Targeted, TargetName, Tools
from litefleet_controller.convert.targets.prediction import Prediction
from litefleet_controller.convert.toolchain import REVISION
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.tasks import COMPILED_FILE, Accelerate, Accelerated, Quantize, Refused
from litefleet_controller.resources.recipe import Engine

_NOTES: dict[TargetName, str] = {
    "cpu": "",
    "gpu": "proven on the controller's processor; whether its GPU runs it, the board says",
    "myriad": "proven on the controller's processor; no stick has run it",
}
_NOT_COMPILED = "not compiled, for want of edgetpu_compiler: the int8 file runs on the board's processor"
_COMPILED = "compiled after it was proven; nothing but a board with an Edge TPU can run it"


class AcceleratedEntry(Entry, frozen=True, kw_only=True, tag="accelerated"):
    """What is known of a model on an accelerator."""

    prediction: Prediction
    compilation: Compilation | None
    model: str | None
    """Digest of the compiled file."""
    size: int
    step: Step

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return () if self.model is None else (self.model,)


class _Key(Struct, frozen=True):
    model: str
    target: TargetName
    compiler: str | None
    revision: str = REVISION


class Acceleration:
    """Finishes variants for a target."""

    def __init__(self, blobs: Blobs, cache: Path, pool: WorkerPool, tools: Tools, now: Now) -> None:
        self._blobs = blobs
        self._pool = pool
        self._tools = tools
        self._now = now
        self._entries: EntryFolder[AcceleratedEntry | RefusalEntry] = EntryFolder(
            cache / "accelerated", AcceleratedEntry | RefusalEntry
        )

    async def finish(
        self, target: TargetName, engine: Engine, model: str, listener: Listener
    ) -> Targeted | RefusalEntry:
        """What the boards of `target` get of the variant `model`, the digest of a file for `engine`.

        Raises: ConversionError.
        """
        if target == "edgetpu" and engine != "litert":
            return RefusalEntry(code="WrongRuntime", message=f"the Edge TPU runs LiteRT files only, not {engine}")
        if target != "edgetpu":
            return Targeted(target, "Available", message=_NOTES[target])
        program = await asyncio.to_thread(compiler, self._tools)
        name = _hash(_Key(model, target, await asyncio.to_thread(_fingerprint, program) if program else None))
        entry = await asyncio.to_thread(self._entries.read, name)
        if entry is None or any([await self._blobs.size(digest) is None for digest in entry.blobs]):
            entry = await self._ask(target, model, program, listener)
            await asyncio.to_thread(self._entries.write, name, entry)
        if isinstance(entry, RefusalEntry):
            return entry
        return Targeted(
            target,
            "Missing" if entry.model is None else "Available",
            message=_NOT_COMPILED if entry.model is None else _COMPILED,
            prediction=entry.prediction,
            compilation=entry.compilation,
            model=entry.model,
            size=entry.size,
            step=entry.step,
        )

    async def _ask(
        self, target: TargetName, model: str, program: Path | None, listener: Listener
    ) -> AcceleratedEntry | RefusalEntry:
        source = await self._blobs.local_path(model)
        async with self._pool.worker(Quantize) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                task = Accelerate(
                    folder=folder, model=str(source), target=target, compiler=str(program) if program else None
                )
                watch = Stopwatch("accelerate", listener, self._now)
                done = await worker.ask(task, watch)
                if isinstance(done, Refused):
                    return RefusalEntry(code=done.code, message=done.message)
                if not isinstance(done, Accelerated):
                    raise unasked()
                made, size = None, 0
                if done.compilation is not None:
                    made, size = await adopt(self._blobs, Path(folder) / COMPILED_FILE)
                step = watch.step(worker.containment)
        return AcceleratedEntry(
            prediction=done.prediction, compilation=done.compilation, model=made, size=size, step=step
        )


def _fingerprint(program: Path) -> str:
    """Tells an upgraded compiler from the one before, without running it."""
    stat = program.stat()
    return f"{program} {stat.st_size} {stat.st_mtime_ns}"


def _hash(key: _Key) -> str:
    return hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()
