"""One rung at a time: from the cache, or by the worker processes, once for all who ask.

The part of LocalConverter that touches blobs, cache and workers; it knows nothing of ladders, classes and limits.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.cache import (
    EntryFolder,
    FrozenEntry,
    FrozenKey,
    PrunedEntry,
    PrunedKey,
    RangesEntry,
    RangesKey,
    RefusalEntry,
    VariantEntry,
    VariantKey,
    key_hash,
)
from litefleet_controller.convert.flights import Flights
from litefleet_controller.convert.handover import Listener, adopt, adopt_examination, local, remembered, unasked, within
from litefleet_controller.convert.interface import ModelFile
from litefleet_controller.convert.progress.steps import Now, Step
from litefleet_controller.convert.progress.stopwatch import Stopwatch
from litefleet_controller.convert.pruned import PrunedVariant, Unpruned
from litefleet_controller.convert.prunings import Prunings
from litefleet_controller.convert.toolchain import own_versions
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.tasks import (
    ANSWERS_FILE,
    EXAMINATION_FILE,
    FROZEN_FILE,
    RANGES_FILE,
    Calibrate,
    Calibrated,
    Freeze,
    Frozen,
    Inspect,
    Quantize,
    Refused,
    Stage,
    Task,
    Variant,
)
from litefleet_controller.resources.recipe import Recipe, recipes
from litefleet_protocol.runtimes import GOLDEN_FILE, MODEL_FILES

_MAX_NOTES, _MAX_NOTE, _MAX_NAME = 16, 1000, 120
"""Sentences, their characters, a processor's name's: they go into a status, and a worker's word is no limit."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What one recipe came to, and whether no worker had to be asked."""

    entry: VariantEntry | RefusalEntry
    is_cached: bool


class Rungs:
    """Makes rungs, and remembers them."""

    def __init__(self, blobs: Blobs, cache: Path, pool: WorkerPool, now: Now) -> None:
        self._blobs = blobs
        self._pool = pool
        self._now = now
        self._frozen: EntryFolder[FrozenEntry] = EntryFolder(cache / "frozen", FrozenEntry)
        self._variants: EntryFolder[VariantEntry | RefusalEntry] = EntryFolder(
            cache / "variants", VariantEntry | RefusalEntry
        )
        self._ranges: EntryFolder[RangesEntry | RefusalEntry] = EntryFolder(
            cache / "ranges", RangesEntry | RefusalEntry
        )
        self._prunings = Prunings(blobs, cache, pool, now)
        self._freezing: Flights[FrozenEntry, Stage] = Flights()
        self._calibrating: Flights[RangesEntry | RefusalEntry, Stage] = Flights()
        self._quantizing: Flights[Rung, Stage] = Flights()

    async def make(self, key: VariantKey, listener: Listener) -> Rung:
        """The rung that `key` decides.

        Raises: ConversionError.
        """
        name = key_hash(key)
        if (entry := await remembered(self._variants, self._blobs, name)) is not None:
            return Rung(entry, is_cached=True)
        listener(Stage(stage="queued", percent=0))
        return await self._quantizing.join(name, lambda tell: self._quantize(key, name, tell), listener)

    async def _freeze(self, key: FrozenKey, tell: Listener) -> FrozenEntry:
        name = key_hash(key)
        if (entry := await remembered(self._frozen, self._blobs, name)) is not None:
            return entry
        return await self._freezing.join(name, lambda tell: self._freeze_now(key, name, tell), tell)

    async def _freeze_now(self, key: FrozenKey, name: str, tell: Listener) -> FrozenEntry:
        source = await local(self._blobs, key.source, "source")
        evaluation = await local(self._blobs, key.evaluation, "evaluation set")
        async with self._pool.worker(Inspect if key.source_format == "tflite" else Freeze) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                watch = Stopwatch("freeze", tell, self._now)
                done = await worker.ask(_freezing(key, folder, str(source), str(evaluation)), watch)
                if not isinstance(done, Frozen):
                    raise unasked()
                entry = FrozenEntry(
                    model=(await adopt(self._blobs, Path(folder) / FROZEN_FILE))[0],
                    answers=(await adopt(self._blobs, Path(folder) / ANSWERS_FILE))[0],
                    classes=done.classes,
                    outputs=done.outputs,
                    recipe=done.recipe,
                    step=watch.step(worker.containment),
                )
        await asyncio.to_thread(self._frozen.write, name, entry)
        return entry

    async def _calibrate(self, key: RangesKey, tell: Listener) -> RangesEntry | RefusalEntry:
        name = key_hash(key)
        if (entry := await remembered(self._ranges, self._blobs, name)) is not None:
            return entry
        return await self._calibrating.join(name, lambda tell: self._calibrate_now(key, name, tell), tell)

    async def _calibrate_now(self, key: RangesKey, name: str, tell: Listener) -> RangesEntry | RefusalEntry:
        model = await local(self._blobs, key.model, "frozen model")
        calibration = await local(self._blobs, key.calibration, "calibration set")
        entry: RangesEntry | RefusalEntry
        async with self._pool.worker(Quantize) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                task = Calibrate(
                    folder=folder,
                    frozen=str(model),
                    preprocess=key.preprocess,
                    calibration=str(calibration),
                    calibration_samples=key.calibration_samples,
                )
                watch = Stopwatch("calibrate", tell, self._now)
                match await worker.ask(task, watch):
                    case Refused(code=code, message=message):
                        entry = RefusalEntry(code=code, message=message)
                    case Calibrated(samples=samples):
                        ranges, _ = await adopt(self._blobs, Path(folder) / RANGES_FILE)
                        entry = RangesEntry(ranges=ranges, samples=samples, step=watch.step(worker.containment))
                    case _:
                        raise unasked()
        await asyncio.to_thread(self._ranges.write, name, entry)
        return entry

    async def _quantize(self, key: VariantKey, name: str, tell: Listener) -> Rung:
        frozen = await self._freeze(key.frozen, tell if key.how.pruning is None else within(tell, 0, 25))
        if key.how.pruning is None or frozen.recipe != "float32":
            return await self._quantize_from(_Base(frozen.model), frozen, key, name, tell)
        unpruned = await self._unpruned(key, within(tell, 10, 20))
        entry = await self._prunings.make(_pruned_key(key, frozen), within(tell, 20, 80))
        if isinstance(entry, RefusalEntry):
            return Rung(entry, is_cached=False)
        return await self._quantize_from(_Base(entry.model, entry, unpruned), frozen, key, name, within(tell, 60, 100))

    async def _unpruned(self, key: VariantKey, tell: Listener) -> VariantEntry | None:
        """What a pruned variant is compared with: often on the ladder behind it anyway."""
        if key.how.unpruned is None:
            return None
        plain = msgspec.structs.replace(
            key,
            recipe=key.how.unpruned,
            how=msgspec.structs.replace(recipes()[key.how.unpruned], auto=()),
            training=None,
        )
        rung = await self.make(plain, tell)
        return rung.entry if isinstance(rung.entry, VariantEntry) else None

    async def _quantize_from(
        self, base: "_Base", frozen: FrozenEntry, key: VariantKey, name: str, tell: Listener
    ) -> Rung:
        model = await local(self._blobs, base.model, "frozen model")
        answers = await local(self._blobs, frozen.answers, "answers")
        evaluation = await local(self._blobs, key.frozen.evaluation, "evaluation set")
        ranges = calibration = None
        measured: RangesEntry | None = None
        if key.calibration is not None and frozen.recipe == "float32":
            found = await self._calibrate(_ranges_key(key, base.model, key.calibration), tell)
            if isinstance(found, RefusalEntry):
                return Rung(found, is_cached=False)
            measured = found
            ranges = await local(self._blobs, measured.ranges, "calibration's result")
            calibration = await local(self._blobs, key.calibration, "calibration set")
        async with self._pool.worker(_kind(key.how)) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                task = Quantize(
                    folder=folder,
                    recipe=key.recipe,
                    how=key.how,
                    frozen=str(model),
                    answers=str(answers),
                    evaluation=str(evaluation),
                    measure=key.measure,
                    outputs=frozen.outputs,
                    preprocess=key.frozen.preprocess,
                    ranges=str(ranges) if ranges else None,
                    calibration=str(calibration) if calibration else None,
                    calibration_samples=key.calibration_samples,
                    goal=key.goal,
                    unpruned=await self._files(base),
                )
                watch = Stopwatch("make", tell, self._now)
                done = await worker.ask(task, watch)
                past = _Past(frozen, base, measured, watch.step(worker.containment))
                entry = await self._entry(done, Path(folder), key, past)
        await asyncio.to_thread(self._variants.write, name, entry)
        return Rung(entry, is_cached=False)

    async def _files(self, base: "_Base") -> tuple[str, ...] | None:
        if base.pruned is None:
            return None
        files = base.unpruned.files if base.unpruned is not None else ()
        return tuple([str(await local(self._blobs, file.digest, "unpruned variant")) for file in files])

    async def _entry(self, done: Struct, folder: Path, key: VariantKey, past: "_Past") -> VariantEntry | RefusalEntry:
        if isinstance(done, Refused):
            return RefusalEntry(code=done.code, message=done.message)
        if not isinstance(done, Variant):
            raise unasked()
        files = [ModelFile(name, *await adopt(self._blobs, folder / name)) for name in MODEL_FILES[key.how.engine]]
        golden, golden_size = await adopt(self._blobs, folder / GOLDEN_FILE)
        examination = await adopt_examination(self._blobs, folder / EXAMINATION_FILE)
        return VariantEntry(
            files=tuple(files),
            golden=golden,
            golden_size=golden_size,
            golden_samples=done.golden_samples,
            examination=examination,
            golden_tolerance=done.golden_tolerance,
            signature=done.signature,
            operators=done.operators,
            operator_versions=done.operator_versions,
            traits=done.traits,
            arena_bytes=done.arena_bytes,
            golden_tolerances=done.golden_tolerances,
            agreement=done.agreement,
            accuracy=done.accuracy,
            source_accuracy=done.source_accuracy,
            closeness=done.closeness,
            measure=key.measure,
            evaluated=done.evaluated,
            classes=done.classes,
            hint=msgspec.structs.replace(done.hint, processor=done.hint.processor[:_MAX_NAME]),
            toolchain=key.frozen.toolchain | key.toolchain,
            frozen=past.frozen.model,
            pruned_model=past.base.model if past.base.pruned else None,
            ranges=past.measured.ranges if past.measured else None,
            builder=own_versions(),
            steps=past.steps,
            notes=_notes(done, past.base),
            pruned=_saved(done, key, past.base),
        )


@dataclass(frozen=True, slots=True)
class _Base:
    """What is quantized."""

    model: str
    """Digest of a frozen file: the source's own or the pruned one."""
    pruned: PrunedEntry | None = None
    unpruned: VariantEntry | None = None


@dataclass(frozen=True, slots=True)
class _Past:
    """What led to a variant."""

    frozen: FrozenEntry
    base: _Base
    measured: RangesEntry | None
    made: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        pruned = (self.base.pruned.step,) if self.base.pruned else ()
        measured = (self.measured.step,) if self.measured else ()
        return (self.frozen.step, *pruned, *measured, self.made)


def _notes(done: Variant, base: _Base) -> tuple[str, ...]:
    notes = (base.pruned.pruned.note, *done.notes) if base.pruned is not None else done.notes
    return tuple(note[:_MAX_NOTE] for note in notes[:_MAX_NOTES])


def _saved(done: Variant, key: VariantKey, base: _Base) -> PrunedVariant | None:
    if base.pruned is None or done.compressed is None:
        return None
    plain = base.unpruned
    return PrunedVariant(
        pruned=base.pruned.pruned,
        compressed=done.compressed[0],
        unpruned=Unpruned(
            recipe=key.how.unpruned or "",
            size=plain.size,
            compressed=done.compressed[1],
            agreement=plain.agreement,
            accuracy=plain.accuracy,
        )
        if plain is not None
        else None,
    )


def _pruned_key(key: VariantKey, frozen: FrozenEntry) -> PrunedKey:
    if key.how.pruning is None:
        raise AssertionError("only what prunes gets here")
    return PrunedKey(
        model=frozen.model,
        source=key.frozen.source,
        source_format=key.frozen.source_format,
        preprocess=key.frozen.preprocess,
        pruning=key.how.pruning,
        training=key.training,
        toolchain=key.frozen.toolchain,
    )


def _ranges_key(key: VariantKey, model: str, calibration: str) -> RangesKey:
    return RangesKey(
        model=model,
        preprocess=key.frozen.preprocess,
        calibration=calibration,
        calibration_samples=key.calibration_samples,
        toolchain=key.frozen.toolchain,
    )


def _kind(how: Recipe) -> type[Task]:
    """What tf2onnx needs is tensorflow: a worker that has it loaded takes half a minute less."""
    return Freeze if how.engine == "onnxruntime" else Quantize


def _freezing(key: FrozenKey, folder: str, source: str, evaluation: str) -> Freeze | Inspect:
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
