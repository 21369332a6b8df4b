"""What the controller's process and a worker say to each other: length-prefixed JSON on the worker's pipes.

A worker gets paths and answers with numbers; files go through the task's folder, under the names below. Imports
msgspec only, so that both sides start fast.
"""

import struct
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct

from litefleet_controller.convert.interface import (
    Measure,
    Metric,
    OutputCloseness,
    ParityLimits,
    RecipeName,
    SourceFormat,
    TrainingSet,
)
from litefleet_controller.convert.latency import Hint
from litefleet_controller.convert.pruned import Pruned
from litefleet_controller.convert.targets.compilation import Compilation
from litefleet_controller.convert.targets.interface import TargetName
from litefleet_controller.convert.targets.prebuilt import Findings
from litefleet_controller.convert.targets.prediction import Prediction
from litefleet_controller.convert.workers.owntasks import Epoch, OwnReply, OwnTask
from litefleet_controller.convert.workers.sandbox.enter import Containment
from litefleet_controller.resources.recipe import Pruning, Recipe, Tolerance
from litefleet_protocol.tensors import Preprocess, Signature

MAX_FRAME_BYTES = 4 * 1024 * 1024
LENGTH = struct.Struct(">I")

FROZEN_FILE = "frozen.tflite"
ANSWERS_FILE = "answers.npz"
RANGES_FILE = "ranges.json"
EXAMINATION_FILE = "examination.json"
DATA_FILE = "data.npz"
COMPILED_FILE = "compiled.tflite"

CHECKING = "checking"
"""The stage in which a foreign file is first loaded and run: one that takes long there never ends."""


class Freeze(Struct, frozen=True, kw_only=True, tag="freeze"):
    """Make FROZEN_FILE and ANSWERS_FILE of a `.keras` file or a SavedModel. The only task that imports tensorflow."""

    folder: str
    source: str
    source_format: Literal["keras", "savedModel"] = "keras"
    source_signature: str | None = None
    """Of a SavedModel; None for serving_default, or the only one."""
    evaluation: str
    metric: Metric = "accuracy"
    input_shape: tuple[int, ...] | None = None
    """Without the batch, for what the source leaves open."""
    preprocess: Preprocess


class Inspect(Struct, frozen=True, kw_only=True, tag="inspect"):
    """Make FROZEN_FILE and ANSWERS_FILE of a `.tflite` file that somebody else made, and that may crash its process."""

    folder: str
    source: str
    evaluation: str
    metric: Metric = "accuracy"
    input_shape: tuple[int, ...] | None = None
    preprocess: Preprocess


class Decode(Struct, frozen=True, kw_only=True, tag="decode"):
    """Make DATA_FILE of a zip or tar with a folder of images."""

    folder: str
    archive: str
    preprocess: Preprocess
    labels: tuple[str, ...]
    samples: int
    """At most so many images, of all classes in turn."""


class Prune(Struct, frozen=True, kw_only=True, tag="prune"):
    """Make FROZEN_FILE of the model with fewer weights: once for all recipes that prune alike."""

    folder: str
    source: str
    source_format: SourceFormat
    frozen: str
    """What a Freeze or an Inspect made of the source."""
    preprocess: Preprocess
    pruning: Pruning
    training: str | None
    """The file of `trained_on`."""
    trained_on: TrainingSet | None


class Calibrate(Struct, frozen=True, kw_only=True, tag="calibrate"):
    """Make RANGES_FILE of what a Freeze or an Inspect made: once for all recipes that need it."""

    folder: str
    frozen: str
    preprocess: Preprocess
    calibration: str
    calibration_samples: int


class Quantize(Struct, frozen=True, kw_only=True, tag="quantize"):
    """Make GOLDEN_FILE, EXAMINATION_FILE and the MODEL_FILES of the recipe's engine of a Freeze's or an Inspect's work.

    Compared with the source's answers.
    """

    folder: str
    recipe: RecipeName
    how: Recipe
    frozen: str
    answers: str
    evaluation: str
    measure: Measure = Measure()
    outputs: tuple[str, ...] = ()
    """The source's names for its outputs, in their order; none where the file's own will do."""
    preprocess: Preprocess
    ranges: str | None
    calibration: str | None
    """For the recipes that compare layers."""
    calibration_samples: int
    goal: ParityLimits | None
    unpruned: tuple[str, ...] | None = None
    """The files of the variant that a pruned one is compared with; none where nothing was pruned."""


class Accelerate(Struct, frozen=True, kw_only=True, tag="accelerate"):
    """Foretell what an accelerator runs of a variant, and make COMPILED_FILE of it where a compiler is named."""

    folder: str
    model: str
    target: TargetName
    compiler: str | None
    seconds: float = 300.0
    """Wall clock that the compiler has."""


class CheckPrebuilt(Struct, frozen=True, kw_only=True, tag="checkPrebuilt"):
    """Look at a file that was compiled elsewhere, and make GOLDEN_FILE of what its source answers.

    It isn't run: nothing here can.
    """

    folder: str
    prebuilt: str
    frozen: str
    """What a Freeze or an Inspect made of the source."""
    answers: str
    evaluation: str
    metric: Metric
    classes: int
    outputs: tuple[str, ...]
    """The source's names for its outputs; none where the file's own will do."""
    preprocess: Preprocess
    tolerance: float | None
    """How far a board's answers may be from the source's; None: as far as those of `twin` are."""
    twin: str | None
    """A file that was made here of the same source and quantized alike."""
    twin_recipe: RecipeName
    rounding: Tolerance
    """How far a board's answers may be from this machine's with one and the same file."""


class Stage(Struct, frozen=True, kw_only=True, tag="stage", omit_defaults=True):
    """A task enters a stage; the clock of the stage's time limit starts anew."""

    stage: str
    percent: int
    epoch: Epoch | None = None
    """That has just ended."""
    note: str = ""
    """What whoever waits should know at once."""


class Frozen(Struct, frozen=True, kw_only=True, tag="frozen"):
    """A Freeze or an Inspect is done."""

    classes: int
    """0 where the metric isn't accuracy."""
    outputs: tuple[str, ...] = ()
    recipe: RecipeName = "float32"
    """What the source is the result of already; other recipes can be made of float32 only."""


class PrunedModel(Struct, frozen=True, kw_only=True, tag="pruned"):
    """A Prune is done."""

    pruned: Pruned


class Decoded(Struct, frozen=True, kw_only=True, tag="decoded"):
    """A Decode is done."""

    samples: int
    of: int
    """How many there would have been with more room."""


class Calibrated(Struct, frozen=True, kw_only=True, tag="calibrated"):
    """A Calibrate is done."""

    samples: int


class Variant(Struct, frozen=True, kw_only=True, tag="variant"):
    """A Quantize is done."""

    signature: Signature
    operators: dict[str, int]
    operator_versions: dict[str, int]
    traits: tuple[str, ...]
    arena_bytes: int | None
    golden_samples: int
    golden_tolerance: float
    golden_tolerances: tuple[float, ...] = ()
    agreement: float
    accuracy: float | None
    source_accuracy: float | None
    closeness: tuple[OutputCloseness, ...] = ()
    evaluated: int
    classes: int
    hint: Hint
    notes: tuple[str, ...] = ()
    compressed: tuple[int, int] | None = None
    """Bytes after compression, of this variant and of `Quantize.unpruned` (0 without): where it was asked for."""


class Accelerated(Struct, frozen=True, kw_only=True, tag="accelerated"):
    """An Accelerate is done."""

    prediction: Prediction
    compilation: Compilation | None


class CheckedPrebuilt(Struct, frozen=True, kw_only=True, tag="checkedPrebuilt"):
    """A CheckPrebuilt found nothing wrong."""

    findings: Findings
    signature: Signature
    operators: dict[str, int]
    operator_versions: dict[str, int]
    """Of the operators that stay on the processor."""
    traits: tuple[str, ...]
    arena_bytes: int
    golden_samples: int
    golden_tolerances: tuple[float, ...]
    """For each output."""
    notes: tuple[str, ...]


class Refused(Struct, frozen=True, kw_only=True, tag="refused"):
    """This recipe can't be made of this model: the rung is refused, the next one may do."""

    code: str
    message: str


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The task can't be done; see interface.ConversionError."""

    code: str
    message: str
    final: bool
    hint: str = ""


Task = Freeze | Inspect | Decode | Prune | Calibrate | Quantize | Accelerate | CheckPrebuilt | OwnTask
Result = Frozen | Decoded | PrunedModel | Calibrated | Variant | Accelerated | CheckedPrebuilt | OwnReply | Refused
Reply = Containment | Stage | Result | Failed

CALIBRATION_MISSING = "{} needs a calibration set, and the Model has none: set spec.calibration"

_encoder = msgspec.json.Encoder()
task_decoder = msgspec.json.Decoder(Task)
reply_decoder = msgspec.json.Decoder(Reply)


class RungError(Exception):
    """Raised inside a worker for what becomes `Refused`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(message: Task | Reply) -> bytes:
    """A message with its length in front."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next body, or None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None
