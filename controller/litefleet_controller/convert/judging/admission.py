"""May a variant go to a class of boards at all? Pure; the numbers come from a worker or from the cache.

Asked before gate.py, which judges how good it is, and before anything is published. What is refused here would not load
on the board, would not fit, or, worst, would load and answer wrongly without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from litefleet_controller.convert.cache import AdoptedEntry, VariantEntry
from litefleet_controller.convert.interface import ConversionError, ConversionRequest, RecipeName, RefusedRung
from litefleet_controller.convert.judging.runtimes import Runtimes, litert
from litefleet_controller.resources.release import Release, parse_release
from litefleet_protocol.tensors import Signature

Candidate = VariantEntry | AdoptedEntry


@dataclass(frozen=True, slots=True)
class Board:
    """What a class says of its boards, as far as it decides what may go there."""

    device_class: str
    runtime: str = "litert"
    runtime_version: str | None = None
    """None: as new as the interpreter that variants are checked with here."""
    max_artifact_bytes: int | None = None
    max_memory_bytes: int | None = None


def board_of(request: ConversionRequest) -> Board:
    """The boards that a request is for."""
    return Board(
        device_class=request.device_class,
        runtime=request.runtime,
        runtime_version=request.runtime_version,
        max_artifact_bytes=request.limits.max_artifact_bytes,
        max_memory_bytes=request.limits.max_memory_bytes,
    )


def admit(recipe: RecipeName, variant: Candidate, board: Board) -> RefusedRung | None:
    """Why `board` can't have `variant`, or None when it can."""
    refused = _refused_signature(variant.signature) or _refused_runtime(recipe, variant, board)
    if refused is None:
        refused = _refused_size(recipe, variant, board)
    return RefusedRung(recipe, *refused) if refused else None


def check_labels(labels: Sequence[str], classes: int) -> None:
    """Refuse a model that tells fewer classes apart than it has names for: that is so for every recipe and class.

    Raises:
        ConversionError: `SignatureChanged`.
    """
    if labels and classes < len(labels):
        raise ConversionError(
            "SignatureChanged",
            f"the model tells {classes} classes apart, and spec.output.labels has {len(labels)}",
            final=True,
            hint="give as many labels as the model has classes, in the order of its output",
        )


def _refused_signature(signature: Signature) -> tuple[str, str] | None:
    """A board builds its tensors from the signature, once: every dimension must be there."""
    for tensor in (*signature.inputs, *signature.outputs):
        if any(n < 1 for n in tensor.shape):
            return "BadShape", f"tensor {tensor.name!r} has the shape {list(tensor.shape)}: it must be fixed"
    return None


def _refused_runtime(recipe: RecipeName, variant: Candidate, board: Board) -> tuple[str, str] | None:
    if board.runtime != "litert" or board.runtime_version is None:
        return None
    known, release = litert(), parse_release(board.runtime, board.runtime_version)
    if release is None or release < known.oldest:
        has = release or repr(board.runtime_version)
        said = f"class {board.device_class} has {has}; what releases before {known.oldest} can run isn't known"
        return "UnsupportedRuntime", said
    lacking = [_lack(name, needed, known, release) for name, needed in variant.operator_versions.items()]
    if any(lacking):
        needs = " and ".join(filter(None, lacking))
        return "UnsupportedOp", f"{recipe} needs {needs}; class {board.device_class} has {release}"
    for defect in known.defects_of(release):
        if defect.trait in variant.traits:
            where = f"on {release}, which class {board.device_class} has"
            said = f"{recipe} doesn't run rightly {where}: {defect.says}; {defect.until} is free of that"
            return "UnsupportedOp", said
    return None


def _lack(name: str, needed: int, known: Runtimes, release: Release) -> str:
    """`FULLY_CONNECTED version 12 (...)` when a release doesn't have it, or nothing."""
    has = known.highest(name, release)
    if has >= needed:
        return ""
    first = known.first_with(name, needed)
    since = f"which came with {first}" if first else "which no release known here has"
    return f"{name} version {needed} ({since}; there it is {f'version {has} at most' if has else 'missing'})"


def _refused_size(recipe: RecipeName, variant: Candidate, board: Board) -> tuple[str, str] | None:
    if board.max_artifact_bytes is not None and variant.size > board.max_artifact_bytes:
        return "TooLarge", f"{recipe} has {variant.size} bytes; the class takes {board.max_artifact_bytes}"
    activations = variant.arena_bytes or 0
    memory = variant.size + activations
    if board.max_memory_bytes is not None and memory > board.max_memory_bytes:
        parts = f"{variant.size} for the file and {activations} for activations"
        said = f"{recipe} needs at least {memory} bytes of memory ({parts}); the class has {board.max_memory_bytes}"
        return "TooLarge", said
    return None
