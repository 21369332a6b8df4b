"""A file that was compiled elsewhere, taken for a class's boards: checked in a worker, with what it must answer.

Runs in the controller's process and asks the workers. The ladder's recipes make a twin, the same source quantized
alike, for one number only: how far from the source's a board's answers may be. What came of it is remembered by all
that decided it; the class's limits are applied to that.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from litefleet_controller.convert.cache import (
    AdoptedEntry,
    AdoptedKey,
    FrozenEntry,
    FrozenKey,
    RefusalEntry,
    VariantEntry,
)
from litefleet_controller.convert.handover import keep_document
from litefleet_controller.convert.interface import (
    PREBUILT,
    ConversionError,
    ConversionRequest,
    Made,
    ModelFile,
    RecipeName,
)
from litefleet_controller.convert.judging.admission import admit, board_of
from litefleet_controller.convert.judging.gate import judge
from litefleet_controller.convert.judging.weighing import Attempt
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.provenance import adopted, adoption_statement
from litefleet_controller.convert.rungs import Rungs
from litefleet_controller.convert.targets.interface import Targeted
from litefleet_controller.convert.toolchain import own_versions
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import CheckedPrebuilt, CheckPrebuilt, Quantize
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.runtimes import GOLDEN_FILE, MODEL_FILES

TWINS: tuple[RecipeName, ...] = ("int8", "int8-float")
"""Recipes that compute as an Edge TPU does; tried for comparison where the ladder has none that passes."""
_INSTEAD = "; without spec.prebuilt.edgetpu the class gets what is made of the source here"
_MESSAGE = (
    "compiled elsewhere; read here, and not run here: a board's own check decides, where each of {samples} golden "
    "samples must be answered as by the source, within {expectation}"
)
Attempts = Callable[[RecipeName], Awaitable[Attempt]]
"""What a recipe comes to for the class."""


@dataclass(frozen=True, slots=True)
class _Twin:
    recipe: RecipeName = TWINS[0]
    entry: VariantEntry | None = None
    trouble: str = ""
    """Why there is none."""

    @property
    def file(self) -> str | None:
        return self.entry.files[0].digest if self.entry is not None else None


class Adoption:
    """Takes prebuilt files."""

    def __init__(self, bench: Workbench, rungs: Rungs) -> None:
        self._bench = bench
        self._rungs = rungs
        self._kept: Kept[AdoptedKey, AdoptedEntry] = Kept(bench, "adopted", AdoptedEntry, self._check)

    async def adopt(
        self,
        request: ConversionRequest,
        frozen: FrozenKey,
        attempt: Attempts,
        listener: Listener,
        pushed: Mapping[str, str],
    ) -> Made:
        """The Model's compiled file as the class's boards get it. `pushed`: see provenance.statement.

        Raises:
            ConversionError: final, for a file that the class can't have, with what `check_prebuilt` names; for want
                of a tolerance (`ToleranceMissing`); and what conversion of the source raises.
        """
        if request.prebuilt is None:
            raise AssertionError("only classes with a prebuilt file get here")
        source = await self._rungs.frozen(frozen, listener)
        twin = _Twin() if request.prebuilt.tolerance is not None else await _twin(request, attempt)
        if request.prebuilt.tolerance is None and twin.entry is None:
            raise ConversionError(
                "ToleranceMissing",
                "nothing says how near to the source's a board's answers must be: no int8 could be made here to "
                f"compare spec.prebuilt.edgetpu with ({twin.trouble})",
                final=True,
                hint="write spec.prebuilt.edgetpu.tolerance, the largest difference of an output's number from the "
                "source's, or set spec.calibration so that an int8 can be made here",
            )
        key = AdoptedKey(
            file=request.prebuilt.digest,
            tolerance=request.prebuilt.tolerance,
            frozen=frozen,
            twin=twin.file,
            twin_recipe=twin.recipe,
            toolchain=frozen.toolchain,
        )
        found = await self._kept.find(key)
        entry = found if found is not None else await self._kept.make(key, listener)
        refused = admit(PREBUILT, entry, board_of(request))
        if refused is not None:
            raise ConversionError(
                refused.code,
                f"spec.prebuilt.edgetpu: {refused.message}",
                final=True,
                hint=_HINTS[refused.code] + _INSTEAD,
            )
        made = await self._made(key, entry, source, pushed)
        return replace(made, cached=found is not None)

    async def _check(self, key: AdoptedKey, tell: Listener) -> AdoptedEntry:
        source = await self._rungs.frozen(key.frozen, tell)
        async with self._bench.turn(Quantize, "check", tell) as turn:
            task = CheckPrebuilt(
                folder=turn.folder,
                prebuilt=await turn.hand(key.file, "compiled file"),
                frozen=await turn.hand(source.model, "frozen model"),
                answers=await turn.hand(source.answers, "answers"),
                evaluation=await turn.hand(key.frozen.evaluation, "evaluation set"),
                metric=key.frozen.metric,
                classes=source.classes,
                outputs=source.outputs,
                preprocess=key.frozen.preprocess,
                tolerance=key.tolerance,
                twin=await turn.hand(key.twin, "variant") if key.twin is not None else None,
                twin_recipe=key.twin_recipe,
                rounding=recipes()[key.twin_recipe].tolerance,
            )
            done = await turn.ask(task, CheckedPrebuilt)
            if isinstance(done, RefusalEntry):
                raise ConversionError(done.code, done.message, final=True)
            golden, golden_size = await turn.adopt(GOLDEN_FILE)
            step = turn.step()
        size = await self._bench.blobs.size(key.file) or 0
        return AdoptedEntry(
            file=ModelFile(MODEL_FILES["litert"][0], key.file, size),
            golden=golden,
            golden_size=golden_size,
            golden_samples=done.golden_samples,
            golden_tolerances=done.golden_tolerances,
            findings=done.findings,
            signature=done.signature,
            operators=done.operators,
            operator_versions=done.operator_versions,
            traits=done.traits,
            arena_bytes=done.arena_bytes,
            notes=done.notes,
            step=step,
        )

    async def _made(self, key: AdoptedKey, entry: AdoptedEntry, source: FrozenEntry, pushed: Mapping[str, str]) -> Made:
        toolchain = key.toolchain | ({"edgetpu_compiler": entry.findings.compiler} if entry.findings.compiler else {})
        document = adoption_statement(key, entry, source, own_versions() | key.toolchain, pushed)
        digest = await keep_document(self._bench.blobs, document)
        each = entry.golden_tolerances
        said = _MESSAGE.format(samples=entry.golden_samples, expectation=entry.findings.expectation)
        return Made(
            recipe=PREBUILT,
            files=entry.files,
            golden=entry.golden,
            golden_size=entry.golden_size,
            golden_samples=entry.golden_samples,
            golden_tolerance=max(each),
            golden_tolerances=each if len(set(each)) > 1 else (),
            signature=entry.signature,
            operators=entry.operators,
            agreement=None,
            accuracy=None,
            source_accuracy=None,
            evaluated=0,
            toolchain=toolchain,
            seconds=0.0,
            cached=False,
            arena_bytes=entry.arena_bytes,
            notes=entry.notes,
            target=Targeted("edgetpu", "Available", message=said, findings=entry.findings),
            provenance=adopted(key, entry, source, digest, pushed),
        )


_HINTS = {
    "TooLarge": "compile a smaller model, or raise the class's limit",
    "UnsupportedOp": "compile a model without what stays on the processor, or upgrade the boards",
    "UnsupportedRuntime": "set spec.runtimeVersion of the class to a release that is known",
    "BadShape": "compile a model with fixed shapes",
}


async def _twin(request: ConversionRequest, attempt: Attempts) -> _Twin:
    """What recipes that compute in int8 make of the source, the first of the ladder's that is good enough."""
    trouble = []
    for recipe in request.ladder:
        if recipes()[recipe].activations != "int8":
            continue
        tried = await attempt(recipe)
        refused = tried.refusal if tried.entry is None else judge(recipe, tried.entry, request.limits)
        if tried.entry is not None and refused is None:
            return _Twin(recipe, tried.entry)
        if refused is not None:
            trouble.append(f"{recipe}: {refused.code}: {refused.message}")
    return _Twin(trouble="; ".join(dict.fromkeys(trouble)))


def with_twins(ladder: Sequence[RecipeName]) -> tuple[RecipeName, ...]:
    """A class's ladder with what may be compared with a prebuilt file behind it."""
    return *ladder, *(recipe for recipe in TWINS if recipe not in ladder)
