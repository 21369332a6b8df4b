"""What was computed before, as small JSON files named by the hash of everything that decided it.

Files that were made are blobs; an entry names them, and an entry whose blobs are gone is as good as none. Limits are
not part of a key: they are applied to the numbers, so another class with other limits shares the entry. But for the
recipes that work towards the limits, and then those of parity only: classes that ask for the same share.
"""

import hashlib
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.durable import write_file
from litefleet_controller.convert.interface import (
    Measure,
    Metric,
    ModelFile,
    OutputCloseness,
    ParityLimits,
    RecipeName,
    SourceFormat,
    TrainingSet,
)
from litefleet_controller.convert.latency import Hint
from litefleet_controller.convert.progress.steps import Step
from litefleet_controller.convert.pruned import Pruned, PrunedVariant
from litefleet_controller.convert.targets.prebuilt import Findings
from litefleet_controller.resources.recipe import Pruning, Recipe
from litefleet_protocol.tensors import Preprocess, Signature


class FrozenKey(Struct, frozen=True, kw_only=True):
    """What decides a frozen source and its answers."""

    source: str
    source_format: SourceFormat
    source_signature: str | None
    evaluation: str
    metric: Metric = "accuracy"
    input_shape: tuple[int, ...] | None = None
    preprocess: Preprocess
    toolchain: dict[str, str]


class Entry(Struct, frozen=True, kw_only=True):
    """What all entries have."""

    @property
    def blobs(self) -> tuple[str, ...]:
        """What must still be there for the entry to mean anything."""
        return ()


E = TypeVar("E", bound=Entry)


class FrozenEntry(Entry, frozen=True, kw_only=True):
    """A frozen source."""

    model: str
    answers: str
    classes: int
    outputs: tuple[str, ...] = ()
    recipe: RecipeName
    """What the source is the result of already: float32, or another one for a quantized `.tflite` file."""
    step: Step

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return self.model, self.answers


class PrunedKey(Struct, frozen=True, kw_only=True):
    """What decides a pruned model: nothing of how it is quantized, so recipes that prune alike share it."""

    model: str
    """Digest of the source's frozen file."""
    source: str
    source_format: SourceFormat
    preprocess: Preprocess
    pruning: Pruning
    training: TrainingSet | None
    toolchain: dict[str, str]


class PrunedEntry(Entry, frozen=True, kw_only=True, tag="pruned"):
    """A pruned model, frozen."""

    model: str
    pruned: Pruned
    step: Step

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return (self.model,)


class RangesKey(Struct, frozen=True, kw_only=True):
    """What decides how far activations reach: no recipe, since all of them share it."""

    model: str
    """Digest of the frozen file."""
    preprocess: Preprocess
    calibration: str
    calibration_samples: int
    toolchain: dict[str, str]


class RangesEntry(Entry, frozen=True, kw_only=True, tag="ranges"):
    """A calibration's result."""

    ranges: str
    samples: int
    step: Step

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return (self.ranges,)


class VariantKey(Struct, frozen=True, kw_only=True):
    """What decides a variant."""

    frozen: FrozenKey
    recipe: RecipeName
    how: Recipe
    calibration: str | None
    calibration_samples: int
    measure: Measure = Measure()
    goal: ParityLimits | None = None
    """What the recipe works towards, if it does; sizes are left out."""
    training: TrainingSet | None = None
    """For the recipes that prune."""
    toolchain: dict[str, str] = {}
    """What the recipe's engine needs beside the tools that froze the source."""


class VariantEntry(Entry, frozen=True, kw_only=True, tag="variant"):
    """A variant and its numbers, good or bad."""

    files: tuple[ModelFile, ...]
    golden: str
    golden_size: int
    golden_samples: int
    examination: str
    """Digest of how it answers beside its source: see artifacts/examination.py."""
    golden_tolerance: float
    signature: Signature
    operators: dict[str, int]
    operator_versions: dict[str, int]
    """Operator to the highest version of it that is needed: see opversions.py. Empty for other engines than LiteRT."""
    traits: tuple[str, ...]
    arena_bytes: int | None
    """None where the engine's format doesn't tell."""
    golden_tolerances: tuple[float, ...] = ()
    agreement: float
    accuracy: float | None
    source_accuracy: float | None
    closeness: tuple[OutputCloseness, ...] = ()
    measure: Measure = Measure()
    evaluated: int
    classes: int
    hint: Hint
    """Measured once, when it was made: who finds the entry again gets the same figure."""
    toolchain: dict[str, str]
    frozen: str = ""
    """Digest of the frozen file."""
    pruned_model: str | None = None
    """Digest of the frozen file that was pruned, where one was."""
    ranges: str | None = None
    """Digest of the calibration's result, where one was needed."""
    builder: dict[str, str] = {}
    """Versions of litefleet and Python that made it, which an upgrade doesn't change."""
    steps: tuple[Step, ...] = ()
    """What was done for it, with what other variants share."""
    notes: tuple[str, ...] = ()
    pruned: PrunedVariant | None = None

    @property
    def fidelity(self) -> float:
        """What a choice weighs: accuracy, or for tensors what the mean error of the furthest output leaves of 1."""
        if self.accuracy is not None:
            return self.accuracy
        return 1 - max((o.mean_error for o in self.closeness), default=0.0)

    @property
    def size(self) -> int:
        """Bytes of all files of the model."""
        return sum(file.size for file in self.files)

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return *(file.digest for file in self.files), self.golden, self.examination


class AdoptedKey(Struct, frozen=True, kw_only=True):
    """What decides what is found in a file, and what it must answer."""

    file: str
    tolerance: float | None
    frozen: FrozenKey
    twin: str | None
    """Of the file that was made here; None where the Model says the tolerance."""
    twin_recipe: RecipeName
    toolchain: dict[str, str]


class AdoptedEntry(Entry, frozen=True, kw_only=True, tag="adopted"):
    """What is known of a compiled file, and its golden samples."""

    file: ModelFile
    golden: str
    golden_size: int
    golden_samples: int
    golden_tolerances: tuple[float, ...]
    findings: Findings
    signature: Signature
    operators: dict[str, int]
    operator_versions: dict[str, int]
    traits: tuple[str, ...]
    arena_bytes: int
    notes: tuple[str, ...]
    step: Step

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return self.file.digest, self.golden

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """What boards get; as VariantEntry has it."""
        return (self.file,)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.size


class RefusalEntry(Entry, frozen=True, kw_only=True, tag="refusal"):
    """A recipe that can't be made of this source: that doesn't change, either."""

    code: str
    message: str


_encoder = msgspec.json.Encoder(order="deterministic")


def key_hash(key: Struct) -> str:
    """The name of an entry."""
    return hashlib.sha256(_encoder.encode([type(key).__name__, key])).hexdigest()


class EntryFolder(Generic[E]):
    """Entries of one kind. Blocking; callers use threads."""

    def __init__(self, folder: Path, kind: Any) -> None:
        """`kind`: the type, or union of types, that its files hold."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, name: str) -> E | None:
        """The entry, or None when there is none that this version can read."""
        try:
            entry: E = self._decoder.decode((self._folder / f"{name}.json").read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return entry

    def write(self, name: str, entry: E) -> None:
        """Keep an entry, durably.

        Raises: StorageFullError.
        """
        write_file(self._folder / f"{name}.json", _encoder.encode(entry))
