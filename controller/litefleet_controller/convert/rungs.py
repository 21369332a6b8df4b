"""One rung at a time: from the frozen source, over what pruning and calibration made of it, to a measured variant.

Knows nothing of ladders, classes and limits.
"""

from dataclasses import dataclass

import msgspec

from litefleet_controller.convert.cache import (
    FrozenEntry,
    FrozenKey,
    PrunedEntry,
    PrunedKey,
    RangesEntry,
    RangesKey,
    RefusalEntry,
    VariantEntry,
    VariantKey,
)
from litefleet_controller.convert.calibrations import Calibrations
from litefleet_controller.convert.freezings import Freezings
from litefleet_controller.convert.interface import CandidateError, ModelFile, WorkerFaultError
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener, within
from litefleet_controller.convert.progress.steps import Step
from litefleet_controller.convert.pruned import PrunedVariant, Unpruned
from litefleet_controller.convert.prunings import Prunings
from litefleet_controller.convert.toolchain import own_versions
from litefleet_controller.convert.workbench import Turn, Workbench
from litefleet_controller.convert.workers.tasks import EXAMINATION_FILE, Freeze, Quantize, Stage, Task, Variant
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

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._freezings = Freezings(bench)
        self._prunings = Prunings(bench)
        self._calibrations = Calibrations(bench)
        self._variants: Kept[VariantKey, VariantEntry | RefusalEntry] = Kept(
            bench, "variants", VariantEntry | RefusalEntry, self._make
        )

    async def make(self, key: VariantKey, listener: Listener) -> Rung:
        """The rung that `key` decides.

        Raises:
            CandidateError: a worker's fault, after the source was opened.
            ConversionError: that couldn't be done, or this machine is in the way.
        """
        if (entry := await self._variants.find(key)) is not None:
            return Rung(entry, is_cached=True)
        listener(Stage(stage="queued", percent=0))
        return Rung(await self._variants.make(key, listener), is_cached=False)

    async def frozen(self, key: FrozenKey, listener: Listener) -> FrozenEntry:
        """The frozen source that `key` decides, and what it answers.

        Raises: ConversionError.
        """
        return await self._freezings.get(key, listener)

    async def _make(self, key: VariantKey, tell: Listener) -> VariantEntry | RefusalEntry:
        frozen = await self._freezings.get(key.frozen, tell if key.how.pruning is None else within(tell, 0, 25))
        try:
            return await self._make_of(frozen, key, tell)
        except WorkerFaultError as e:
            raise CandidateError(e) from e

    async def _make_of(self, frozen: FrozenEntry, key: VariantKey, tell: Listener) -> VariantEntry | RefusalEntry:
        if key.how.pruning is None or frozen.recipe != "float32":
            return await self._quantize(_Base(frozen.model), frozen, key, tell)
        unpruned = await self._unpruned(key, within(tell, 10, 20))
        entry = await self._prunings.get(_pruned_key(key, frozen), within(tell, 20, 80))
        if isinstance(entry, RefusalEntry):
            return entry
        return await self._quantize(_Base(entry.model, entry, unpruned), frozen, key, within(tell, 60, 100))

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

    async def _quantize(
        self, base: "_Base", frozen: FrozenEntry, key: VariantKey, tell: Listener
    ) -> VariantEntry | RefusalEntry:
        measured: RangesEntry | None = None
        if key.calibration is not None and frozen.recipe == "float32":
            found = await self._calibrations.get(_ranges_key(key, base.model, key.calibration), tell)
            if isinstance(found, RefusalEntry):
                return found
            measured = found
        async with self._bench.turn(_kind(key.how), "make", tell) as turn:
            task = Quantize(
                folder=turn.folder,
                recipe=key.recipe,
                how=key.how,
                frozen=await turn.hand(base.model, "frozen model"),
                answers=await turn.hand(frozen.answers, "answers"),
                evaluation=await turn.hand(key.frozen.evaluation, "evaluation set"),
                measure=key.measure,
                outputs=frozen.outputs,
                preprocess=key.frozen.preprocess,
                ranges=await turn.hand(measured.ranges, "calibration's result") if measured else None,
                calibration=await turn.hand(key.calibration or "", "calibration set") if measured else None,
                calibration_samples=key.calibration_samples,
                goal=key.goal,
                unpruned=await _files(turn, base),
            )
            done = await turn.ask(task, Variant)
            if isinstance(done, RefusalEntry):
                return done
            return await _entry(done, turn, key, _Past(frozen, base, measured, turn.step()))


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


async def _files(turn: Turn, base: _Base) -> tuple[str, ...] | None:
    """Of the unpruned variant; None when nothing was pruned."""
    if base.pruned is None:
        return None
    files = base.unpruned.files if base.unpruned is not None else ()
    return tuple([await turn.hand(file.digest, "unpruned variant") for file in files])


async def _entry(done: Variant, turn: Turn, key: VariantKey, past: _Past) -> VariantEntry:
    files = [ModelFile(name, *await turn.adopt(name)) for name in MODEL_FILES[key.how.engine]]
    golden, golden_size = await turn.adopt(GOLDEN_FILE)
    examination = await turn.adopt_examination(EXAMINATION_FILE)
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
