"""One rung at a time: from the cache, or by the worker processes, once for all who ask.

The part of LocalConverter that touches blobs, cache and workers; it knows nothing of ladders, classes and limits.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.errors import BlobCorruptError, BlobError, BlobNotFoundError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.cache import (
    Entry,
    EntryFolder,
    FrozenEntry,
    FrozenKey,
    RangesEntry,
    RangesKey,
    RefusalEntry,
    VariantEntry,
    VariantKey,
    key_hash,
)
from litefleet_controller.convert.flights import Flights
from litefleet_controller.convert.interface import ConversionError, ModelFile
from litefleet_controller.convert.pool import WorkerPool
from litefleet_controller.convert.tasks import (
    ANSWERS_FILE,
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
from litefleet_controller.resources.recipe import Recipe
from litefleet_protocol.runtimes import GOLDEN_FILE, MODEL_FILES

Listener = Callable[[Stage], None]
E = TypeVar("E", bound=Entry)
_MAX_MADE_BYTES = 1024**3
_MAX_NOTES, _MAX_NOTE, _MAX_NAME = 16, 1000, 120
"""Sentences, their characters, a processor's name's: they go into a status, and a worker's word is no limit."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What one recipe came to, and whether no worker had to be asked."""

    entry: VariantEntry | RefusalEntry
    is_cached: bool


class Rungs:
    """Makes rungs, and remembers them."""

    def __init__(self, blobs: Blobs, cache: Path, pool: WorkerPool) -> None:
        self._blobs = blobs
        self._pool = pool
        self._frozen: EntryFolder[FrozenEntry] = EntryFolder(cache / "frozen", FrozenEntry)
        self._variants: EntryFolder[VariantEntry | RefusalEntry] = EntryFolder(
            cache / "variants", VariantEntry | RefusalEntry
        )
        self._ranges: EntryFolder[RangesEntry | RefusalEntry] = EntryFolder(
            cache / "ranges", RangesEntry | RefusalEntry
        )
        self._freezing: Flights[FrozenEntry, Stage] = Flights()
        self._calibrating: Flights[RangesEntry | RefusalEntry, Stage] = Flights()
        self._quantizing: Flights[Rung, Stage] = Flights()

    async def make(self, key: VariantKey, listener: Listener) -> Rung:
        """The rung that `key` decides.

        Raises: ConversionError.
        """
        name = key_hash(key)
        if (entry := await self._remembered(self._variants, name)) is not None:
            return Rung(entry, is_cached=True)
        listener(Stage(stage="queued", percent=0))
        return await self._quantizing.join(name, lambda tell: self._quantize(key, name, tell), listener)

    async def _remembered(self, folder: EntryFolder[E], name: str) -> E | None:
        entry = await asyncio.to_thread(folder.read, name)
        if entry is None:
            return None
        for digest in entry.blobs:
            if await self._blobs.size(digest) is None:
                return None
        return entry

    async def _freeze(self, key: FrozenKey, tell: Listener) -> FrozenEntry:
        name = key_hash(key)
        if (entry := await self._remembered(self._frozen, name)) is not None:
            return entry
        return await self._freezing.join(name, lambda tell: self._freeze_now(key, name, tell), tell)

    async def _freeze_now(self, key: FrozenKey, name: str, tell: Listener) -> FrozenEntry:
        source = await self._local(key.source, "source")
        evaluation = await self._local(key.evaluation, "evaluation set")
        async with self._pool.worker(Inspect if key.source_format == "tflite" else Freeze) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                done = await worker.ask(_freezing(key, folder, str(source), str(evaluation)), tell)
                if not isinstance(done, Frozen):
                    raise ConversionError("WorkerCrashed", "the worker answers what wasn't asked", final=False)
                entry = FrozenEntry(
                    model=(await adopt(self._blobs, Path(folder) / FROZEN_FILE))[0],
                    answers=(await adopt(self._blobs, Path(folder) / ANSWERS_FILE))[0],
                    classes=done.classes,
                    recipe=done.recipe,
                )
        await asyncio.to_thread(self._frozen.write, name, entry)
        return entry

    async def _calibrate(self, key: RangesKey, tell: Listener) -> RangesEntry | RefusalEntry:
        name = key_hash(key)
        if (entry := await self._remembered(self._ranges, name)) is not None:
            return entry
        return await self._calibrating.join(name, lambda tell: self._calibrate_now(key, name, tell), tell)

    async def _calibrate_now(self, key: RangesKey, name: str, tell: Listener) -> RangesEntry | RefusalEntry:
        model = await self._local(key.model, "frozen model")
        calibration = await self._local(key.calibration, "calibration set")
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
                match await worker.ask(task, tell):
                    case Refused(code=code, message=message):
                        entry = RefusalEntry(code=code, message=message)
                    case Calibrated(samples=samples):
                        ranges, _ = await adopt(self._blobs, Path(folder) / RANGES_FILE)
                        entry = RangesEntry(ranges=ranges, samples=samples)
                    case _:
                        raise ConversionError("WorkerCrashed", "the worker answers what wasn't asked", final=False)
        await asyncio.to_thread(self._ranges.write, name, entry)
        return entry

    async def _quantize(self, key: VariantKey, name: str, tell: Listener) -> Rung:
        frozen = await self._freeze(key.frozen, tell)
        model, answers = await self._local(frozen.model, "frozen model"), await self._local(frozen.answers, "answers")
        evaluation = await self._local(key.frozen.evaluation, "evaluation set")
        ranges = calibration = None
        if key.calibration is not None and frozen.recipe == "float32":
            measured = await self._calibrate(_ranges_key(key, frozen, key.calibration), tell)
            if isinstance(measured, RefusalEntry):
                return Rung(measured, is_cached=False)
            ranges = await self._local(measured.ranges, "calibration's result")
            if key.goal is not None:
                calibration = await self._local(key.calibration, "calibration set")
        async with self._pool.worker(_kind(key.how)) as worker:
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                task = Quantize(
                    folder=folder,
                    recipe=key.recipe,
                    how=key.how,
                    frozen=str(model),
                    answers=str(answers),
                    evaluation=str(evaluation),
                    preprocess=key.frozen.preprocess,
                    ranges=str(ranges) if ranges else None,
                    calibration=str(calibration) if calibration else None,
                    calibration_samples=key.calibration_samples,
                    goal=key.goal,
                )
                entry = await self._entry(await worker.ask(task, tell), Path(folder), key)
        await asyncio.to_thread(self._variants.write, name, entry)
        return Rung(entry, is_cached=False)

    async def _entry(self, done: Struct, folder: Path, key: VariantKey) -> VariantEntry | RefusalEntry:
        if isinstance(done, Refused):
            return RefusalEntry(code=done.code, message=done.message)
        if not isinstance(done, Variant):
            raise ConversionError("WorkerCrashed", "the worker answers what wasn't asked", final=False)
        files = [ModelFile(name, *await adopt(self._blobs, folder / name)) for name in MODEL_FILES[key.how.engine]]
        golden, golden_size = await adopt(self._blobs, folder / GOLDEN_FILE)
        return VariantEntry(
            files=tuple(files),
            golden=golden,
            golden_size=golden_size,
            golden_samples=done.golden_samples,
            golden_tolerance=done.golden_tolerance,
            signature=done.signature,
            operators=done.operators,
            operator_versions=done.operator_versions,
            traits=done.traits,
            arena_bytes=done.arena_bytes,
            agreement=done.agreement,
            accuracy=done.accuracy,
            source_accuracy=done.source_accuracy,
            evaluated=done.evaluated,
            classes=done.classes,
            hint=msgspec.structs.replace(done.hint, processor=done.hint.processor[:_MAX_NAME]),
            toolchain=key.frozen.toolchain | key.toolchain,
            notes=tuple(note[:_MAX_NOTE] for note in done.notes[:_MAX_NOTES]),
        )

    async def _local(self, digest: str, what: str) -> Path:
        """A blob as a file for a worker.

        Raises:
            ConversionError: `NotFound`, or `DigestMismatch` when the disk has damaged it.
        """
        try:
            return await self._blobs.local_path(digest)
        except BlobNotFoundError as e:
            raise ConversionError("NotFound", f"the {what} isn't there: {e}", final=True) from e
        except BlobCorruptError as e:
            raise ConversionError("DigestMismatch", f"the {what} is damaged: {e}", final=True) from e


async def adopt(blobs: Blobs, path: Path) -> tuple[str, int]:
    """A file that a worker made as a blob; digest and size.

    Raises:
        ConversionError: `StorageFailed`.
    """
    try:
        data = await asyncio.to_thread(_read_plain_file, path)
        return await blobs.put(data), len(data)
    except (OSError, BlobError) as e:
        raise ConversionError("StorageFailed", f"{path.name} can't be kept: {e}", final=False) from e


def _ranges_key(key: VariantKey, frozen: FrozenEntry, calibration: str) -> RangesKey:
    return RangesKey(
        model=frozen.model,
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
        return Inspect(folder=folder, source=source, evaluation=evaluation, preprocess=key.preprocess)
    return Freeze(
        folder=folder,
        source=source,
        source_format=key.source_format,
        source_signature=key.source_signature,
        evaluation=evaluation,
        preprocess=key.preprocess,
    )


def _read_plain_file(path: Path) -> bytes:
    """The content of a file that a worker, which isn't trusted, says it made: no link to something else."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if os.fstat(file.fileno()).st_size > _MAX_MADE_BYTES:
            raise OSError(f"more than {_MAX_MADE_BYTES} bytes")
        return file.read()
