"""The port to conversion: one request for one version and one class; the answer is a proven variant, or every refusal.

Implemented by a local pool of child processes, later by Kubernetes Jobs. Nothing here imports tensorflow.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from litefleet_controller.convert.judging.choice import Place
from litefleet_controller.convert.latency import Hint, Seen
from litefleet_controller.convert.pruned import PrunedVariant
from litefleet_controller.convert.targets.interface import Targeted, TargetName
from litefleet_controller.resources.recipe import Engine, Objective
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature

MAX_EVALUATED = 2_000
"""Samples of an evaluation set that are used: enough to tell 95% from 96.5% with three sigmas."""

RecipeName = str
"""A file in resources/recipes."""
SourceFormat = Literal["keras", "savedModel", "tflite"]
Metric = Literal["accuracy", "closeness"]
"""How answers are compared: by the class that they name, or number by number. See comparing.py."""
TOLERANCE = 0.1
"""Of closeness, where a Model gives none: an error with 1 % of the power of what the output tells apart (20 dB)."""


class Measure(Struct, frozen=True):
    """When a variant's answer counts as the source's."""

    metric: Metric = "accuracy"
    tolerance: float = TOLERANCE
    """For closeness: the largest error of an output, as a share of its spread."""


class OutputCloseness(Struct, frozen=True, kw_only=True):
    """How far one output is from the source's. Errors are shares of the output's spread: see comparing.py."""

    output: str
    spread: float
    mean_error: float
    worst_error: float
    """Of any sample."""
    sqnr_db: float | None
    """Signal to quantization noise ratio over all samples, decibels; None where there is no noise."""


@dataclass(frozen=True, slots=True)
class ParityLimits:
    """What a variant must hold against its source on the evaluation samples."""

    min_agreement: float
    max_accuracy_drop: float
    max_artifact_bytes: int | None = None
    max_memory_bytes: int | None = None

    def is_close(self, agreement: float, drop: float | None) -> bool:
        """Whether answers are near enough to the source's.

        `drop`: the source's accuracy minus the variant's; None where nobody said which answers are right.
        """
        return agreement >= self.min_agreement and (drop is None or drop <= self.max_accuracy_drop)


class TrainingSet(Struct, frozen=True):
    """What a pruned model is trained further on."""

    digest: str
    """Of an .npz with `x` (before pre-processing) and `y` (class numbers)."""
    samples: int
    epochs: int | None = None
    """None: as many as the recipe says."""


class Prebuilt(Struct, frozen=True):
    """A file that was compiled elsewhere for a class's accelerator, and goes to its boards as it is."""

    digest: str
    tolerance: float | None = None
    """How far a board's answers may be from the source's; None: as far as what is made here for comparison is."""


PREBUILT: RecipeName = "prebuilt"
"""In place of a recipe's name, of a variant that no recipe made."""


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """Everything that decides the outcome. What decides a variant's bytes is in the cache's key: see VariantKey."""

    device_class: str
    source: str
    """Digest of the source blob."""
    source_format: SourceFormat
    ladder: tuple[RecipeName, ...]
    """Tried in this order until one is proven; or, with an objective, all of them."""
    limits: ParityLimits
    evaluation: str
    """Digest of an .npz with `x` (before pre-processing), and for accuracy `y` (class numbers)."""
    measure: Measure = Measure()  # noqa: RUF009 - frozen
    calibration: str | None = None
    """Digest of an .npz with `x` (before pre-processing)."""
    calibration_samples: int = 100
    source_signature: str | None = None
    """Of a SavedModel; None for serving_default, or the only one."""
    input_shape: tuple[int, ...] | None = None
    """Without the batch, for what the source leaves open."""
    training: TrainingSet | None = None
    preprocess: Preprocess = Preprocess()  # noqa: RUF009 - frozen
    postprocess: Postprocess = Postprocess()  # noqa: RUF009 - frozen
    threads: int = 1
    runtime: str = "litert"
    runtime_version: str | None = None
    """What the class's boards run it with. Not of the key: applied to what is made, as limits are."""
    target: TargetName = "cpu"
    """What runs it on the boards."""
    objective: Objective | None = None
    """What the best variant is best in; None where the ladder's order says it."""
    machines: tuple[str, ...] = ()
    """Architectures of the class's boards, as far as they have said."""
    seen: tuple[Seen, ...] = ()
    """What the class's boards measured with versions of the model, the newest first. For an objective only."""
    max_latency_ms: float | None = None
    """95th percentile on a board; nothing that is measured here can miss it."""
    prebuilt: Prebuilt | None = None
    """What the class gets, if it passes its check; the ladder then makes what it is compared with."""


class ModelFile(Struct, frozen=True):
    """One file of a variant, as a blob."""

    name: str
    """As litefleet_protocol.runtimes has it."""
    digest: str
    size: int
    """Bytes."""


def name_of(files: Sequence[ModelFile]) -> str:
    """What names a variant: the digest of its file; of several files, of the list of their digests.

    Neither of OpenVINO's two files alone would do: models of one architecture share the one, and two that differ in
    what they compute with the same numbers share the other.
    """
    if len(files) == 1:
        return files[0].digest
    listed = "".join(f"{file.name} {file.digest}\n" for file in files)
    return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a variant was made of, and when: digests, and the document that has it all."""

    statement: str
    """Digest of the blob with the in-toto statement: provenance.py."""
    source: str
    recipe: str | None
    """Of what the recipe says; None where no recipe made it."""
    frozen: str
    evaluation: str
    calibration: str | None
    """None where the recipe doesn't need one."""
    training: str | None
    """None where nothing was trained."""
    started: datetime | None
    finished: datetime | None
    prebuilt: str | None = None
    """The file itself, where it was compiled elsewhere."""


@dataclass(frozen=True, slots=True)
class Made:
    """A variant that passed."""

    recipe: RecipeName
    files: tuple[ModelFile, ...]
    """The first is what the engine is given."""
    golden: str
    """Digest of the golden samples blob: .npz, `x0`.. float32 inputs after pre-processing with a leading sample axis
    in place of the batch axis, `y0`.. the variant's own dequantized float32 outputs for them; the source's, where
    nothing here can run the variant."""
    golden_size: int
    golden_samples: int
    golden_tolerance: float
    signature: Signature
    operators: dict[str, int]
    agreement: float | None
    """None where nothing here can run it."""
    accuracy: float | None
    """None where the metric isn't accuracy, and where nothing here can run it."""
    source_accuracy: float | None
    evaluated: int
    """Evaluation samples compared."""
    toolchain: dict[str, str]
    seconds: float
    cached: bool
    arena_bytes: int | None = None
    """Activations alive at once at the worst moment: a lower bound of the interpreter's arena. None where the engine's
    format doesn't tell."""
    notes: tuple[str, ...] = ()
    """What was decided while it was made, a sentence each."""
    engine: Engine = "litert"
    pruned: PrunedVariant | None = None
    golden_tolerances: tuple[float, ...] = ()
    """For each output, where one number doesn't fit them all."""
    closeness: tuple[OutputCloseness, ...] = ()
    """For each output, where the metric is closeness."""
    target: Targeted | None = None
    """What was made of it, or foretold, for the class's accelerator; a compiled file is in `files` already, while
    agreement, accuracy and golden samples are those of the file that it was compiled from."""
    provenance: Provenance | None = None

    @property
    def model(self) -> str:
        """What names the variant: see `name_of`."""
        return name_of(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files of the model."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class RefusedRung:
    """A rung that was not good enough. `code` is stable: ParityFailed, TooLarge, CalibrationInvalid, ..."""

    recipe: RecipeName
    code: str
    message: str
    """One sentence with the numbers."""


Verdict = Literal["Picked", "Front", "Dominated", "Duplicate", "Refused"]
"""Front: nothing beats it in everything, yet another one was picked. Duplicate: the same file as another recipe's."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A recipe that was tried for a class, with its figures as far as it could be made."""

    recipe: RecipeName
    verdict: Verdict
    why: str
    """A sentence with the numbers."""
    code: str = ""
    """Of a refusal."""
    model: str | None = None
    """As `Made.model`. None when nothing could be made."""
    size: int = 0
    agreement: float = 0.0
    accuracy: float | None = None
    activations: int | None = None
    """See `Made.arena_bytes`."""
    hint: Hint | None = None
    boards: Seen | None = None
    examination: str | None = None
    """Digest of how it answers beside its source."""


@dataclass(frozen=True, slots=True)
class Pick:
    """Why a class with an objective got what it got."""

    objective: Objective
    reason: str
    latency_from: Place
    others: tuple[RecipeName, ...]
    """What would be taken in its place, the best first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: a variant (perhaps after refusals of better rungs), or refusals only."""

    made: Made | None
    refused: tuple[RefusedRung, ...]
    weighed: tuple[Weighed, ...] = ()
    """Every recipe that was tried, in the ladder's order."""
    pick: Pick | None = None
    """With an objective, unless everything was refused."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is."""

    stage: str
    """queued, loading, checking, freezing, pruning, calibrating, quantizing or converting, comparing, evaluating."""
    percent: int
    recipe: str = ""
    ends: datetime | None = None
    """When this recipe is thought to be done, by how long such work took before; None when nobody knows."""


class ConversionError(Exception):
    """A request that could not be decided on.

    `final`: the input is to blame (a forbidden format, a broken data set) and trying again changes nothing; otherwise
    the worker crashed, hung or outgrew its memory, and a bounded number of further tries makes sense.
    """

    def __init__(self, code: str, message: str, *, final: bool, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.final = final
        self.hint = hint


class WorkerFaultError(ConversionError):
    """The process that did a task crashed, hung or took more than its limits.

    Codes: `WorkerCrashed`, `ModelCrashed`, `Timeout`, `MemoryLimit`, `DiskLimit` or `ProcessLimit`. The controller, its
    disk and the data sets have no part in it.
    """


class CandidateError(ConversionError):
    """A worker's fault at one recipe, after the source was opened: what others come to it doesn't say."""

    def __init__(self, fault: WorkerFaultError) -> None:
        super().__init__(fault.code, str(fault), final=fault.final, hint=fault.hint)


class Converter(Protocol):
    """Turns requests into outcomes."""

    async def convert(self, request: ConversionRequest, progress: Callable[[Progress], None]) -> Outcome:
        """Convert, prove, cache. `progress` is called on the event loop.

        Raises: ConversionError.
        """
        ...

    async def close(self) -> None:
        """End the workers."""
        ...
