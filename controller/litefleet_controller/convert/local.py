"""Conversion on this machine: the ladder, the cache, and worker processes behind `interface.Converter`.

This module runs in the controller's process and never imports tensorflow, keras, numpy or a quantizer. It decides the
order of things: rungs.py makes and remembers, admission.py and gate.py judge.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.acceleration import Acceleration
from litefleet_controller.convert.admission import Board, admit, board_of, check_labels
from litefleet_controller.convert.cache import FrozenKey, RefusalEntry, VariantEntry, VariantKey
from litefleet_controller.convert.gate import judge
from litefleet_controller.convert.interface import (
    ConversionRequest,
    Made,
    ModelFile,
    Outcome,
    ParityLimits,
    Progress,
    RecipeName,
    RefusedRung,
)
from litefleet_controller.convert.limits import PoolLimits
from litefleet_controller.convert.pool import WorkerPool
from litefleet_controller.convert.rungs import Listener, Rungs
from litefleet_controller.convert.targets.interface import Targeted, Tools
from litefleet_controller.convert.targets.tools import InstalledTools
from litefleet_controller.convert.tasks import CALIBRATION_MISSING, RungError, Stage
from litefleet_controller.convert.toolchain import engine_toolchain, installed_toolchain
from litefleet_controller.resources.recipe import recipes


class LocalConverter:
    """Implements `interface.Converter`. Build it inside a running event loop."""

    def __init__(
        self,
        blobs: Blobs,
        work_dir: Path,
        *,
        workers: int = 1,
        limits: PoolLimits | None = None,
        tools: Tools | None = None,
    ) -> None:
        """Keep entries under `work_dir/cache` and scratch files under `work_dir/scratch`; `workers` tasks at a time.

        `tools`: where compilers are looked for; on this machine by default.
        """
        self._pool = WorkerPool(work_dir / "scratch", limits or PoolLimits(), size=workers)
        self._rungs = Rungs(blobs, work_dir / "cache", self._pool)
        self._acceleration = Acceleration(
            blobs, work_dir / "cache", self._pool, InstalledTools(os.environ) if tools is None else tools
        )

    @property
    def worker_pids(self) -> list[int]:
        """Worker processes that run now."""
        return self._pool.pids

    async def convert(self, request: ConversionRequest, progress: Callable[[Progress], None]) -> Outcome:
        """Try the ladder's rungs in order; the first that the class takes is made.

        Raises: ConversionError.
        """
        started = time.monotonic()
        toolchain = installed_toolchain(request.source_format)
        reported = _Monotonic(progress)
        refused: list[RefusedRung] = []
        board = board_of(request)
        for recipe in request.ladder:
            # A .tflite file may be quantized already; who looks at it knows.
            if (
                recipes()[recipe].needs_calibration
                and request.calibration is None
                and request.source_format != "tflite"
            ):
                refused.append(RefusedRung(recipe, "CalibrationMissing", CALIBRATION_MISSING.format(recipe)))
                continue
            try:
                engine = engine_toolchain(recipes()[recipe].engine)
            except RungError as e:
                refused.append(RefusedRung(recipe, e.code, str(e)))
                continue
            key = _key(request, recipe, toolchain, engine)
            rung = await self._rungs.make(key, reported.listener(recipe))
            if isinstance(rung.entry, RefusalEntry):
                refused.append(RefusedRung(recipe, rung.entry.code, rung.entry.message))
                continue
            check_labels(request.postprocess.labels, rung.entry.classes)
            refusal = admit(recipe, rung.entry, board) or judge(recipe, rung.entry, request.limits)
            if refusal is None:
                model = rung.entry.files[0].digest
                target = await self._acceleration.finish(
                    request.target, recipes()[recipe].engine, model, reported.listener(recipe)
                )
                refusal = _refused_target(recipe, target, rung.entry, board)
            if refusal is None:
                seconds = time.monotonic() - started
                made = _made(recipe, rung.entry, seconds=seconds, is_cached=rung.is_cached)
                return Outcome(_with_target(made, target), tuple(refused))
            refused.append(refusal)
        return Outcome(None, tuple(refused))

    async def close(self) -> None:
        """End the workers. Requests under way fail with `WorkerCrashed`."""
        await self._pool.close()


def _parity(limits: ParityLimits) -> ParityLimits:
    """Without sizes, which another recipe can hold and no other layer."""
    return ParityLimits(min_agreement=limits.min_agreement, max_accuracy_drop=limits.max_accuracy_drop)


class _Monotonic:
    """Progress over a whole ladder: percents never go back, though every rung begins anew."""

    def __init__(self, progress: Callable[[Progress], None]) -> None:
        self._progress = progress
        self._reached = 0

    def listener(self, recipe: RecipeName) -> Listener:
        """For one rung."""

        def report(stage: Stage) -> None:
            self._reached = max(self._reached, stage.percent)
            self._progress(Progress(stage.stage, self._reached, recipe))

        return report


def _key(
    request: ConversionRequest, recipe: RecipeName, toolchain: dict[str, str], engine: dict[str, str]
) -> VariantKey:
    """`toolchain`: what freezes the source; `engine`: what the recipe's engine needs beside it."""
    how = recipes()[recipe]
    return VariantKey(
        frozen=FrozenKey(
            source=request.source,
            source_format=request.source_format,
            source_signature=request.source_signature,
            evaluation=request.evaluation,
            preprocess=request.preprocess,
            toolchain=toolchain,
        ),
        recipe=recipe,
        how=how,
        calibration=request.calibration if how.needs_calibration else None,
        calibration_samples=request.calibration_samples if how.needs_calibration else 0,
        goal=_parity(request.limits) if how.spared else None,
        toolchain=engine,
    )


def _refused_target(
    recipe: RecipeName, target: Targeted | RefusalEntry, entry: VariantEntry, board: Board
) -> RefusedRung | None:
    """Why what became of a variant that passed isn't taken: its compiler refused it, or the result is too large."""
    if isinstance(target, RefusalEntry):
        return RefusedRung(recipe, target.code, target.message)
    if target.model is None:
        return None
    return admit(recipe, msgspec.structs.replace(entry, files=_compiled(entry.files, target.model, target.size)), board)


def _compiled(files: tuple[ModelFile, ...], digest: str, size: int) -> tuple[ModelFile, ...]:
    """A compiled file goes out under the name of what it was compiled from: the engine is the same."""
    return (ModelFile(files[0].name, digest, size),)


def _with_target(made: Made, target: Targeted | RefusalEntry) -> Made:
    """With the compiled file in place of the one that it was compiled from."""
    if isinstance(target, RefusalEntry) or target.model is None or target.compilation is None:
        return dataclasses.replace(made, target=None if isinstance(target, RefusalEntry) else target)
    log = target.compilation.log
    return dataclasses.replace(
        made,
        target=target,
        files=_compiled(made.files, target.model, target.size),
        operators=target.compilation.operators,
        toolchain={**made.toolchain, "edgetpu_compiler": log.version},
    )


def _made(recipe: RecipeName, entry: VariantEntry, *, seconds: float, is_cached: bool) -> Made:
    return Made(
        recipe=recipe,
        files=entry.files,
        golden=entry.golden,
        golden_size=entry.golden_size,
        golden_samples=entry.golden_samples,
        golden_tolerance=entry.golden_tolerance,
        signature=entry.signature,
        operators=entry.operators,
        agreement=entry.agreement,
        accuracy=entry.accuracy,
        source_accuracy=entry.source_accuracy,
        evaluated=entry.evaluated,
        toolchain=entry.toolchain,
        seconds=seconds,
        cached=is_cached,
        arena_bytes=entry.arena_bytes,
        notes=entry.notes,
        engine=recipes()[recipe].engine,
    )
