"""Conversion on this machine: the ladder, the cache, and worker processes behind `interface.Converter`.

This module runs in the controller's process and never imports tensorflow, keras, numpy or a quantizer. It decides the
order of things: rungs.py makes and remembers, admission.py and gate.py judge.
"""

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from litefleet_controller.artifacts.errors import BlobError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.acceleration import Acceleration
from litefleet_controller.convert.adoption import Adoption, with_twins
from litefleet_controller.convert.cache import FrozenKey, RefusalEntry, VariantEntry, VariantKey
from litefleet_controller.convert.handover import keep_document
from litefleet_controller.convert.imagesets import DataField, ImageSets
from litefleet_controller.convert.interface import (
    PREBUILT,
    CandidateError,
    ConversionError,
    ConversionRequest,
    Made,
    ModelFile,
    Outcome,
    ParityLimits,
    Progress,
    RecipeName,
    RefusedRung,
    TrainingSet,
    WorkerFaultError,
)
from litefleet_controller.convert.judging.admission import Board, admit, board_of, check_labels
from litefleet_controller.convert.judging.choice import Choice
from litefleet_controller.convert.judging.gate import judge
from litefleet_controller.convert.judging.weighing import Attempt, best, pick_of, refused_latency, weighed
from litefleet_controller.convert.making.pruning.plan import is_trained
from litefleet_controller.convert.progress.eta import Courses, Kind
from litefleet_controller.convert.progress.listening import within
from litefleet_controller.convert.progress.reporting import Report, RungReport
from litefleet_controller.convert.progress.steps import Now
from litefleet_controller.convert.provenance import recorded, statement
from litefleet_controller.convert.rungs import Rung, Rungs
from litefleet_controller.convert.targets.interface import Targeted, Tools
from litefleet_controller.convert.targets.tools import InstalledTools
from litefleet_controller.convert.toolchain import decoding_toolchain, engine_toolchain, installed_toolchain
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.limits import PoolLimits
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.tasks import CALIBRATION_MISSING, RungError
from litefleet_controller.resources.recipe import Objective, Recipe, recipes

log = structlog.get_logger(__name__)

_DECODED_PERCENT = 5
"""How much of a request folders of images are."""


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
        private: Path | None = None,
        now: Now = lambda: datetime.now(UTC),
    ) -> None:
        """Keep entries under `work_dir/cache` and scratch files under `work_dir/scratch`; `workers` tasks at a time.

        `tools`: where compilers are looked for; on this machine by default. `private`: a folder that workers see
        nothing of but what they are handed. `now`: for provenance.
        """
        self._blobs = blobs
        self._now = now
        self._courses = Courses(work_dir / "cache" / "courses.json")
        self._pool = WorkerPool(work_dir / "scratch", limits or PoolLimits(), size=workers, private=private)
        bench = Workbench(blobs, work_dir / "cache", self._pool, now)
        self._rungs = Rungs(bench)
        self._adoption = Adoption(bench, self._rungs)
        self._images = ImageSets(bench)
        self._acceleration = Acceleration(bench, InstalledTools(os.environ) if tools is None else tools)

    @property
    def worker_pids(self) -> list[int]:
        """Worker processes that run now."""
        return self._pool.pids

    async def convert(self, request: ConversionRequest, progress: Callable[[Progress], None]) -> Outcome:
        """Make the first of the ladder's rungs that the class takes; or, with an objective, all of them, for the best.

        Raises: ConversionError.
        """
        if request.prebuilt is not None:
            request = dataclasses.replace(request, ladder=with_twins(request.ladder), objective=None)
        started = time.monotonic()
        toolchain = installed_toolchain(request.source_format)
        report = Report(
            progress,
            await self._kinds(request),
            self._courses.known,
            self._now,
            all_of_them=request.objective is not None,
        )
        data = await self._images.ready(request, within(report.listener(""), 0, _DECODED_PERCENT))
        pushed = _pushed(request, data.request)
        request = data.request
        work = _Work(request, toolchain, board_of(request), report, started, data.unusable, pushed)
        if request.prebuilt is not None:
            return await self._adopted(work)
        if request.objective is None:
            return await self._first(work)
        return await self._best(work, request.objective)

    async def _adopted(self, work: "_Work") -> Outcome:
        """The Model's own file; a recipe that fails beside it is no rung that was refused."""
        try:
            made = await self._adoption.adopt(
                work.request,
                _frozen_key(work.request, work.toolchain),
                lambda recipe: self._attempt(work, recipe),
                work.report.listener(PREBUILT),
                work.pushed,
            )
        except ConversionError as e:
            if e.code == "ToleranceMissing" and work.faults:
                # For want of a twin, which another try may bring: nobody need write a tolerance for that.
                raise work.faults[0] from e
            raise
        return Outcome(dataclasses.replace(made, seconds=time.monotonic() - work.started), ())

    async def _first(self, work: "_Work") -> Outcome:
        attempts: list[Attempt] = []
        for recipe in work.request.ladder:
            attempt = await self._attempt(work, recipe)
            made = await self._finish(work, attempt)
            attempts.append(attempt if isinstance(made, Made) else dataclasses.replace(attempt, refusal=made))
            if isinstance(made, Made):
                return _outcome(work.request, attempts, made, None)
        return _nothing(work, attempts)

    async def _best(self, work: "_Work", objective: Objective) -> Outcome:
        attempts: list[Attempt] = []
        for recipe in work.request.ladder:
            attempts.append(await self._attempt(work, recipe))
            work.report.end_share()
        while (choice := best(attempts, work.request, objective)) is not None:
            at = next(i for i, a in enumerate(attempts) if a.recipe == choice.recipe)
            made = await self._finish(work, attempts[at])
            if isinstance(made, Made):
                return _outcome(work.request, attempts, made, choice)
            attempts[at] = dataclasses.replace(attempts[at], refusal=made)
        return _nothing(work, attempts)

    async def _attempt(self, work: "_Work", recipe: RecipeName) -> Attempt:
        """What the recipe comes to, and whether the class takes that."""
        request = work.request
        # A .tflite file may be quantized already; who looks at it knows.
        if recipes()[recipe].needs_calibration and request.calibration is None and request.source_format != "tflite":
            return Attempt(recipe, None, RefusedRung(recipe, "CalibrationMissing", CALIBRATION_MISSING.format(recipe)))
        try:
            key = _key(request, recipe, work.toolchain, engine_toolchain(recipes()[recipe].engine))
        except RungError as e:
            return Attempt(recipe, None, RefusedRung(recipe, e.code, str(e)))
        if (unusable := _unusable(key, work.unusable)) is not None:
            return Attempt(recipe, None, unusable)
        course = work.report.rung(recipe)
        try:
            rung = await self._rung(key, course)
        except CandidateError as e:
            return Attempt(recipe, None, work.faulted(recipe, e))
        if not rung.is_cached:
            await self._remember(course)
        if isinstance(rung.entry, RefusalEntry):
            return Attempt(recipe, None, RefusedRung(recipe, rung.entry.code, rung.entry.message))
        if request.measure.metric == "accuracy":
            check_labels(request.postprocess.labels, rung.entry.classes)
        refusal = (
            admit(recipe, rung.entry, work.board)
            or judge(recipe, rung.entry, request.limits)
            or refused_latency(recipe, rung.entry, request)
        )
        return Attempt(recipe, rung.entry, refusal, rung.is_cached)

    async def _rung(self, key: VariantKey, course: RungReport) -> Rung:
        """The rung, at the second attempt if its worker crashed at the first: perhaps for what was in it before.

        Raises: ConversionError.
        """
        try:
            return await self._rungs.make(key, course)
        except CandidateError as e:
            if e.code != "WorkerCrashed":
                raise
            log.warning("recipe tried once more", recipe=key.recipe, error=str(e))
            return await self._rungs.make(key, course)

    async def _finish(self, work: "_Work", attempt: Attempt) -> Made | RefusedRung | None:
        """The attempt as the class's accelerator gets it, or why it gets none."""
        if attempt.refusal is not None or attempt.entry is None:
            return attempt.refusal
        recipe, entry = attempt.recipe, attempt.entry
        try:
            target = await self._acceleration.finish(
                work.request.target, recipes()[recipe].engine, entry.files[0].digest, work.report.listener(recipe)
            )
        except WorkerFaultError as e:
            return work.faulted(recipe, e)
        if (refusal := _refused_target(recipe, target, entry, work.board)) is not None:
            return refusal
        seconds = time.monotonic() - work.started
        made = _with_target(_made(recipe, entry, seconds=seconds, is_cached=attempt.is_cached), target)
        key = _key(work.request, recipe, work.toolchain, engine_toolchain(recipes()[recipe].engine))
        return await self._proven(key, entry, made, work.pushed)

    async def _kinds(self, request: ConversionRequest) -> list[Kind]:
        sizes = [await self._blobs.size(digest) or 0 for digest in (request.source, request.evaluation)]
        return [Kind(recipe, request.source_format, sum(sizes)) for recipe in request.ladder]

    async def _remember(self, report: RungReport) -> None:
        course = report.course()
        if not course.stages:
            return
        try:
            await asyncio.to_thread(self._courses.add, course)
        except (OSError, BlobError) as e:
            # An estimate less is no reason to fail what was made.
            log.warning("course of a conversion not kept", error=str(e))

    async def _proven(self, key: VariantKey, entry: VariantEntry, made: Made, pushed: Mapping[str, str]) -> Made:
        """With its provenance, kept whole as a blob; without one where an older version kept the variant."""
        if not entry.frozen:
            return made
        if made.target is not None and made.target.model is not None and made.target.step is not None:
            entry = msgspec.structs.replace(entry, steps=(*entry.steps, made.target.step))
        tools = made.toolchain | (decoding_toolchain() if pushed else {})
        document = statement(key, entry, made.files, tools, pushed)
        digest = await keep_document(self._blobs, document)
        return dataclasses.replace(made, provenance=recorded(key, entry, digest, pushed))

    async def close(self) -> None:
        """End the workers. Requests under way fail with `WorkerCrashed`."""
        await self._pool.close()


def _parity(limits: ParityLimits) -> ParityLimits:
    """Without sizes, which another recipe can hold and no other layer."""
    return ParityLimits(min_agreement=limits.min_agreement, max_accuracy_drop=limits.max_accuracy_drop)


@dataclass(frozen=True, slots=True)
class _Work:
    """A request under way."""

    request: ConversionRequest
    toolchain: dict[str, str]
    board: Board
    report: Report
    started: float
    unusable: Mapping[DataField, str]
    """What is wrong with data sets that only some recipes need."""
    pushed: Mapping[str, str]
    """Data sets that were made of folders of images, to those."""
    faults: list[ConversionError] = field(default_factory=list)
    """Of workers, at recipes that may be well in themselves."""

    def faulted(self, recipe: RecipeName, fault: ConversionError) -> RefusedRung:
        """The recipe refused for what became of its worker; nothing of that is remembered for other requests."""
        self.faults.append(fault)
        log.warning("recipe left out", recipe=recipe, device_class=self.board.device_class, code=fault.code)
        return RefusedRung(recipe, fault.code, f"{recipe} couldn't be made: {fault}")


def _nothing(work: _Work, attempts: Sequence[Attempt]) -> Outcome:
    """Every recipe is refused, for good.

    Raises:
        ConversionError: where a worker's fault is among the reasons, which is no refusal; another try may do.
    """
    if work.faults:
        raise work.faults[0]
    return _outcome(work.request, attempts, None, None)


def _pushed(before: ConversionRequest, after: ConversionRequest) -> dict[str, str]:
    pairs = [(before.evaluation, after.evaluation), (before.calibration, after.calibration)]
    if before.training is not None and after.training is not None:
        pairs.append((before.training.digest, after.training.digest))
    return {made: pushed for pushed, made in pairs if pushed and made and pushed != made}


def _unusable(key: VariantKey, unusable: Mapping[DataField, str]) -> RefusedRung | None:
    """Why a recipe that needs a data set can't be made, when that is a folder of images that is no good."""
    if key.how.needs_calibration and "calibration" in unusable:
        return RefusedRung(key.recipe, "CalibrationInvalid", unusable["calibration"])
    if key.training is not None and "training" in unusable:
        return RefusedRung(key.recipe, "TrainingInvalid", unusable["training"])
    return None


def _outcome(
    request: ConversionRequest, attempts: Sequence[Attempt], made: Made | None, choice: Choice | None
) -> Outcome:
    return Outcome(
        made,
        tuple(a.refusal for a in attempts if a.refusal is not None),
        weighed(attempts, request, choice),
        pick_of(choice, request.objective) if choice is not None and request.objective is not None else None,
    )


def _key(
    request: ConversionRequest, recipe: RecipeName, toolchain: dict[str, str], engine: dict[str, str]
) -> VariantKey:
    """`toolchain`: what freezes the source; `engine`: what the recipe's engine needs beside it.

    Raises:
        RungError: see `is_trained`.
    """
    # Where it is a candidate decides nothing of what it comes to.
    how = msgspec.structs.replace(recipes()[recipe], auto=())
    return VariantKey(
        frozen=_frozen_key(request, toolchain),
        recipe=recipe,
        how=how,
        calibration=request.calibration if how.needs_calibration else None,
        calibration_samples=request.calibration_samples if how.needs_calibration else 0,
        measure=request.measure,
        goal=_parity(request.limits) if how.spared else None,
        training=_training(request, how),
        toolchain=engine,
    )


def _frozen_key(request: ConversionRequest, toolchain: dict[str, str]) -> FrozenKey:
    return FrozenKey(
        source=request.source,
        source_format=request.source_format,
        source_signature=request.source_signature,
        evaluation=request.evaluation,
        metric=request.measure.metric,
        input_shape=request.input_shape,
        preprocess=request.preprocess,
        toolchain=toolchain,
    )


def _training(request: ConversionRequest, how: Recipe) -> TrainingSet | None:
    if how.pruning is None or not is_trained(how.pruning, request.source_format, has_training=bool(request.training)):
        return None
    return request.training


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
        golden_tolerances=entry.golden_tolerances,
        closeness=entry.closeness,
        evaluated=entry.evaluated,
        toolchain=entry.toolchain,
        seconds=seconds,
        cached=is_cached,
        arena_bytes=entry.arena_bytes,
        notes=entry.notes,
        pruned=entry.pruned,
        engine=recipes()[recipe].engine,
    )
