"""From a proven variant to what a class's accelerator gets: foretold, and compiled where the compiler is installed.

Runs in the controller's process and asks the workers. What came of it is remembered by the model and the compiler.
"""

import asyncio
from pathlib import Path

from msgspec import Struct

from litefleet_controller.convert.cache import Entry, RefusalEntry
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.progress.steps import Step
from litefleet_controller.convert.targets.compilation import Compilation
from litefleet_controller.convert.targets.edgetpu import compiler
from litefleet_controller.convert.targets.interface import Targeted, TargetName, Tools
from litefleet_controller.convert.targets.prediction import Prediction
from litefleet_controller.convert.toolchain import REVISION
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import COMPILED_FILE, Accelerate, Accelerated, Quantize
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
    """Its path."""
    version: str | None
    revision: str = REVISION


class Acceleration:
    """Finishes variants for a target."""

    def __init__(self, bench: Workbench, tools: Tools) -> None:
        self._bench = bench
        self._tools = tools
        self._kept: Kept[_Key, AcceleratedEntry | RefusalEntry] = Kept(
            bench, "accelerated", AcceleratedEntry | RefusalEntry, self._ask
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
        version = await asyncio.to_thread(_fingerprint, program) if program else None
        entry = await self._kept.get(_Key(model, target, str(program) if program else None, version), listener)
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

    async def _ask(self, key: _Key, tell: Listener) -> AcceleratedEntry | RefusalEntry:
        async with self._bench.turn(Quantize, "accelerate", tell) as turn:
            model = await turn.hand(key.model, "variant")
            task = Accelerate(folder=turn.folder, model=model, target=key.target, compiler=key.compiler)
            done = await turn.ask(task, Accelerated)
            if isinstance(done, RefusalEntry):
                return done
            made, size = None, 0
            if done.compilation is not None:
                made, size = await turn.adopt(COMPILED_FILE)
            return AcceleratedEntry(
                prediction=done.prediction, compilation=done.compilation, model=made, size=size, step=turn.step()
            )


def _fingerprint(program: Path) -> str:
    """Tells an upgraded compiler from the one before, without running it."""
    stat = program.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"
