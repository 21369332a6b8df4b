"""Model: a trained network and everything that decides what a version of it is."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.meta import Label, Part, Status
from litefleet_controller.resources.uris import BlobUri, parse_uri

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
SourceFormat = Literal["keras", "savedModel", "tflite"]


def check_uri(uri: str) -> str:
    """A URI that some controller can fetch; whether this one does, its operator says."""
    parse_uri(uri)
    return uri


_URI_HELP = (
    "https://..., s3://BUCKET/KEY, file:///PATH, or blob://sha256:..., as 'litefleet model push FILE' prints it."
)
_INPUTS_HELP = "A folder of images, or an .npz with x (inputs before pre-processing)"
_DIGEST_HELP = (
    "Expected SHA-256; a file with another one is refused. Without it a version gets the one that is found when it is "
    "made, and stays with it."
)


class Source(Part):
    """The trained model."""

    uri: str = Field(description=_URI_HELP)
    format: SourceFormat = Field(
        default="keras", description="What it is: a .keras file, a SavedModel's folder or a .tflite file."
    )
    digest: Digest | None = Field(default=None, description=_DIGEST_HELP)
    signature: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Of a SavedModel, the signature that is converted; without it serving_default, or the only one.",
    )

    _uri = field_validator("uri")(check_uri)

    @model_validator(mode="after")
    def _signature_of_saved_model(self) -> "Source":
        if self.signature is not None and self.format != "savedModel":
            raise FieldError("Invalid", f"signature is for SavedModels, and format says {self.format}: leave it out")
        return self


class PreprocessSpec(Part):
    """From a decoded image or array to the model's input: resize, channels, then x * scale + offset."""

    resize: tuple[int, int] | None = Field(default=None, description="Height and width in pixels.")
    channels: Literal[1, 3] | None = Field(default=None, description="1 for grey, 3 for RGB.")
    scale: float = Field(default=1.0, description="Multiplier, e.g. 0.003921568 for 0..255 to 0..1.")
    offset: float = Field(default=0.0, description="Added after the multiplication.")


class Input(Part):
    """What a board does to an input before the model sees it."""

    preprocess: PreprocessSpec = PreprocessSpec()
    shape: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        min_length=1,
        max_length=7,
        description="The input's dimensions without the batch, for a source that leaves some open.",
    )


class PostprocessSpec(Part):
    """From the model's output to an answer."""

    kind: Literal["classification", "none"] = Field(
        default="classification", description="classification picks labels; none passes the output on."
    )
    activation: Literal["none", "softmax"] = Field(default="none", description="softmax when the model ends in logits.")
    top_k: int = Field(default=1, ge=1, le=100, description="How many labels an answer holds, the likeliest first.")


class Output(Part):
    """What the model's answers mean."""

    labels: list[str] = Field(default=[], max_length=4096, description="Names of the classes, in the output's order.")
    postprocess: PostprocessSpec = PostprocessSpec()


class Calibration(Part):
    """Inputs that show the quantizer the range of activations."""

    uri: str = Field(description=f"{_INPUTS_HELP}. {_URI_HELP}")
    digest: Digest | None = Field(default=None, description=_DIGEST_HELP)
    samples: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="How many of them are used, from the first; of images, of all classes in turn.",
    )

    _uri = field_validator("uri")(check_uri)


class Training(Part):
    """Inputs and classes that pruned variants are trained further on. The source itself is never trained."""

    uri: str = Field(description=f"{_INPUTS_HELP} and y (class numbers). {_URI_HELP}")
    digest: Digest | None = Field(default=None, description=_DIGEST_HELP)
    samples: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="How many of them are used, from the first; of images, of all classes in turn.",
    )
    epochs: int | None = Field(
        default=None, ge=1, le=1000, description="How often they are seen; as the recipe has it when it isn't given."
    )

    _uri = field_validator("uri")(check_uri)


class Evaluation(Part):
    """Inputs that each variant must answer as the source does before any board gets it."""

    uri: str = Field(description=f"{_INPUTS_HELP}, and for accuracy y (class numbers). {_URI_HELP}")
    digest: Digest | None = Field(default=None, description=_DIGEST_HELP)
    metric: Literal["accuracy", "closeness"] | None = Field(
        default=None,
        description="accuracy: the same class comes first as with the source. closeness: every output is near the "
        "source's. By default accuracy for output.postprocess.kind classification, closeness for none.",
    )
    tolerance: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="closeness: the largest error of an output (root mean square) that counts as the same, as a share "
        "of the output's standard deviation over the set; 0.1 by default.",
    )

    _uri = field_validator("uri")(check_uri)


class ModelSpec(Part):
    """Any change here makes a new, immutable ModelVersion."""

    source: Source
    input: Input = Input()
    output: Output = Output()
    calibration: Calibration | None = Field(default=None, description="Needed by recipes with fixed ranges, as int8.")
    training: Training | None = Field(
        default=None, description="For recipes that prune, which take away little without it."
    )
    evaluation: Evaluation

    @field_validator("training")
    @classmethod
    def _training_of_classifiers(cls, training: Training | None, info: ValidationInfo) -> Training | None:
        output = info.data.get("output")
        if training is not None and output is not None and output.postprocess.kind != "classification":
            raise FieldError(
                "Invalid", "training is for classifiers, and output.postprocess.kind is none: leave it out"
            )
        return training

    @field_validator("evaluation")
    @classmethod
    def _metric_of_kind(cls, evaluation: Evaluation, info: ValidationInfo) -> Evaluation:
        output = info.data.get("output")
        if output is None:
            return evaluation  # refused already
        kind, metric = output.postprocess.kind, metric_of(output.postprocess.kind)
        if evaluation.metric not in (None, metric):
            raise FieldError(
                "Invalid",
                f"metric {evaluation.metric} doesn't go with output.postprocess.kind {kind}: write metric: {metric}, "
                "or leave it out",
            )
        if evaluation.tolerance is not None and metric != "closeness":
            raise FieldError("Invalid", "tolerance is for metric closeness: leave it out, a class's limits say it all")
        return evaluation


def metric_of(kind: Literal["classification", "none"]) -> Literal["accuracy", "closeness"]:
    """How variants of a model with such outputs are compared with their source."""
    return "accuracy" if kind == "classification" else "closeness"


NamedFile = Source | Calibration | Training | Evaluation
"""What names a file by `uri` and perhaps `digest`."""


def files_of(spec: ModelSpec) -> list[tuple[str, NamedFile]]:
    """The files that a Model names, each with the path of its field."""
    named = (
        ("spec.source", spec.source),
        ("spec.calibration", spec.calibration),
        ("spec.training", spec.training),
        ("spec.evaluation", spec.evaluation),
    )
    return [(field, file) for field, file in named if file is not None]


def digest_of(file: NamedFile) -> str | None:
    """What the file must be: what its blob:// URI says, or its digest. None when anything would do."""
    uri = parse_uri(file.uri)
    return uri.digest if isinstance(uri, BlobUri) else file.digest


class VersionRef(Part):
    """A version of a model."""

    name: Label = Field(description="Name of the ModelVersion.")
    number: int = Field(description="Its number.")


class FileStatus(Part):
    """One of a Model's files, and how far it is."""

    field: str = Field(description="The field that names it, e.g. spec.source.")
    uri: str = Field(description="Where it comes from.")
    state: Literal["Fetching", "Ready", "Refused", "Waiting"] = Field(
        description="Waiting: fetching it failed, and is tried again. Refused: it isn't tried again as it stands."
    )
    digest: Digest | None = Field(default=None, description="Its SHA-256, when it is here.")
    size_bytes: int | None = Field(default=None, description="Its size, once somebody said so.")
    received_bytes: int = Field(default=0, description="How much of it is here.")
    code: str = Field(default="", description="Stable code of why it isn't here.")
    message: str = Field(default="", description="Why it isn't here.")


class ModelStatus(Status):
    """The newest version, and where the Model's files are."""

    latest_version: VersionRef | None = None
    files: list[FileStatus] = Field(default=[], description="The files that the Model names, and how far each is.")


class ModelVersionSpec(ModelSpec):
    """A Model's spec as it was, and which version that makes it. Immutable."""

    model_ref: Label = Field(description="Name of the Model that this is a version of.")
    version: int = Field(ge=1, description="Number of the version, counted from 1.")

    @model_validator(mode="after")
    def _every_file_is_pinned(self) -> "ModelVersionSpec":
        for field, named in files_of(self):
            if named.digest is None and not named.uri.startswith("blob://"):
                raise FieldError("Required", f"{field}.digest is missing: a version names its files by their content")
        return self


class TensorStatus(Part):
    """One tensor of a variant's signature."""

    name: str = Field(description="Name of the tensor.")
    shape: list[int] = Field(description="Its dimensions, all fixed.")
    dtype: str = Field(description="Type of its elements, e.g. int8.")
    scale: float | None = Field(default=None, description="Quantization: what a step of an integer stands for.")
    zero_point: int | None = Field(default=None, description="Quantization: the integer that stands for zero.")


class VariantFile(Part):
    """One file of a variant."""

    name: str = Field(description="Its name on a board.")
    digest: Digest = Field(description="Its digest.")
    size_bytes: int = Field(description="Its size.")


class TargetOperator(Part):
    """An operator of a variant, and why it isn't on the accelerator, or perhaps not."""

    operator: str = Field(description="Its name.")
    count: int = Field(description="How often it occurs.")
    code: str = Field(default="", description="Stable code of the reason.")
    reason: str = Field(description="The reason.")


class TargetPrediction(Part):
    """What an accelerator would run of a variant, foretold from its maker's published table. Nothing was measured."""

    operator_share: float = Field(description="Share of the operators that would run on the accelerator.")
    mac_share: float = Field(description="Share of the multiply-accumulates that would run there.")
    fallbacks: list[TargetOperator] = Field(
        default=[], description="What would run on the processor, the most important reasons first."
    )
    doubts: list[TargetOperator] = Field(default=[], description="What makes it uncertain.")


class TargetCompilation(Part):
    """What the accelerator's compiler said."""

    compiler: str = Field(description="Its version.")
    operators: int = Field(description="Operators that the model had.")
    mapped: int = Field(description="Operators that the accelerator runs.")
    runtime_version: int | None = Field(default=None, description="Oldest runtime of the accelerator that takes it.")


class VariantTarget(Part):
    """What was made of a variant for the class's accelerator."""

    name: str = Field(description="The class's accelerator.kind.")
    state: Literal["Available", "Missing", "DeviceSide"] = Field(
        description="Available: the file is what the accelerator runs. Missing: a tool for that isn't installed."
    )
    message: str = Field(default="", description="What was not proven, or what happens instead.")
    predicted: TargetPrediction | None = None
    compiled: TargetCompilation | None = None


class VariantProvenance(Part):
    """What a variant was made of, and when. `litefleet explain variant` shows the whole."""

    statement: Digest = Field(description="Digest of the in-toto statement, kept as a blob, that has all of it.")
    source: Digest = Field(description="Digest of the source.")
    recipe: Digest = Field(description="Digest of what the recipe says.")
    frozen: Digest = Field(description="Digest of the float model, every dimension fixed, that variants are made of.")
    evaluation: Digest = Field(description="Digest of the evaluation set.")
    calibration: Digest | None = Field(default=None, description="Digest of the calibration set, where one was used.")
    training: Digest | None = Field(default=None, description="Digest of the training set, where one was used.")
    started_at: datetime | None = Field(default=None, description="When the first step began.")
    finished_at: datetime | None = Field(default=None, description="When the last step ended.")


class PrunedLayer(Part):
    """One layer of a pruned variant."""

    name: str = Field(description="Its name in the model.")
    weights: int = Field(description="Numbers in its weights before pruning.")
    sparsity: float = Field(description="Share of them that is gone.")


class UnprunedVariant(Part):
    """The variant that a pruned one is compared with."""

    recipe: str = Field(description="The recipe that quantizes alike and prunes nothing.")
    size_bytes: int = Field(description="Size of its files.")
    compressed_bytes: int = Field(description="Size of its files after compression.")
    agreement: float = Field(description="Share of evaluation samples with the same top answer as the source.")
    accuracy: float | None = Field(default=None, description="Its accuracy on the evaluation set.")


class VariantPruning(Part):
    """What pruning took away, and what that saved."""

    method: str = Field(description="magnitude: weights became zero; channels: filters were taken out.")
    sparsity: float = Field(description="Share of the weights of convolutions and dense layers that is gone.")
    layers: list[PrunedLayer] = Field(default=[], description="Layer by layer, in the order they run.")
    layers_left_out: int = Field(default=0, description="Layers that this list has no room for.")
    epochs: int = Field(default=0, description="Epochs of training while or after it was pruned; 0: all at once.")
    samples: int = Field(default=0, description="Samples that it was trained on.")
    seed: int | None = Field(default=None, description="Of the training.")
    compressed_bytes: int = Field(description="Size of the variant's files after compression with zstd.")
    unpruned: UnprunedVariant | None = None
    accuracy_change: float | None = Field(
        default=None, description="The pruned variant's accuracy minus the unpruned one's."
    )


class OutputCloseness(Part):
    """How near an output is to the source's. Errors are shares of its spread."""

    output: str = Field(description="Name of the output.")
    spread: float = Field(description="Standard deviation of the source's output over the evaluation set.")
    mean_error: float = Field(description="Mean over the samples of the root mean square error.")
    worst_error: float = Field(description="The largest root mean square error of a sample.")
    sqnr_db: float | None = Field(
        default=None, description="Signal to quantization noise ratio in decibels; none where there is no noise."
    )


class Variant(Part):
    """What was converted and proven: one file, or two for OpenVINO."""

    recipe: str = Field(description="How it was made: a name that the ladder of a DeviceClass may have.")
    artifact: Digest = Field(description="Digest of the signed artifact manifest that boards fetch.")
    runtime: str = Field(default="litert", description="The engine that runs it.")
    digest: Digest = Field(description="Digest of the model's file; of several files, of the list of their digests.")
    size_bytes: int = Field(description="Size of the model's files together.")
    files: list[VariantFile] = Field(default=[], description="The model's files; the engine is given the first.")
    agreement: float = Field(
        description="Share of evaluation samples answered as the source does: with the same top answer, or with every "
        "output within the tolerance."
    )
    closeness: list[OutputCloseness] = Field(
        default=[], description="How near each output is to the source's, where that is the metric."
    )
    accuracy: float | None = Field(default=None, description="Its accuracy on the evaluation set.")
    source_accuracy: float | None = Field(default=None, description="The source's accuracy on the same set.")
    operators: dict[str, int] = Field(default={}, description="How often each operator occurs.")
    inputs: list[TensorStatus] = Field(default=[], description="The tensors that go in.")
    outputs: list[TensorStatus] = Field(default=[], description="The tensors that come out.")
    golden_samples: int = Field(default=0, description="Samples that a board runs before it serves the model.")
    target: VariantTarget | None = None
    pruning: VariantPruning | None = None
    toolchain: dict[str, str] = Field(default={}, description="Versions of what made it, by name.")
    provenance: VariantProvenance | None = None
    notes: list[str] = Field(default=[], description="What was decided while it was made, a sentence each.")
    cached: bool = Field(default=False, description="Whether an earlier conversion was used again.")
    seconds: float = Field(default=0.0, description="How long the conversion took.")


class Refusal(Part):
    """A rung of the ladder that was not good enough, with its numbers."""

    recipe: str = Field(description="The rung.")
    code: str = Field(description="Stable code of the reason.")
    message: str = Field(description="The reason, with the numbers.")


class Latency(Part):
    """How long one inference took, and where. Figures of different processors say nothing about each other."""

    p50_ms: float = Field(description="Median.")
    p99_ms: float = Field(description="99th percentile.")
    inferences: int = Field(description="How many were measured.")
    processor: str = Field(default="", description="Of this controller's measurement: the processor.")
    version: str = Field(default="", description="Of boards' measurement: the ModelVersion that they ran.")
    devices: int = Field(default=0, description="Of boards' measurement: how many boards.")


class Candidate(Part):
    """A recipe that was tried for a class, and what it came to."""

    recipe: str = Field(description="The recipe.")
    verdict: Literal["Picked", "Front", "Dominated", "Duplicate", "Refused"] = Field(
        description="Picked: what the class gets. Front: no other is better in everything. Dominated: another one is. "
        "Duplicate: the same file as another recipe's. Refused: it can't be made or doesn't hold the limits."
    )
    why: str = Field(default="", description="The verdict's reason, with the numbers.")
    code: str = Field(default="", description="Stable code of a refusal.")
    digest: Digest | None = Field(default=None, description="Digest of what was made; absent when nothing could be.")
    size_bytes: int | None = Field(default=None, description="Size of the model's files together.")
    agreement: float | None = Field(default=None, description="Share of samples answered as the source does.")
    accuracy: float | None = Field(default=None, description="Accuracy on the evaluation set.")
    activation_bytes: int | None = Field(default=None, description="Activations that are alive at once, at least.")
    hint: Latency | None = Field(
        default=None,
        description="Measured by this controller, on one thread: a hint for boards with the same processor, and no "
        "more for others.",
    )
    boards: Latency | None = Field(
        default=None, description="Measured by boards of the class that ran it, or the same recipe of a version before."
    )
    examination: Digest | None = Field(
        default=None, description="Digest of how it answers beside its source: what `litefleet model report` draws."
    )


class VariantChoice(Part):
    """Why a class that leaves the choice to measurement got its variant. Made once for a version: see ClassVariant."""

    objective: Literal["latency", "size", "accuracy"] = Field(description="What the best one is best in.")
    reason: str = Field(description="Why it is the best, with the numbers.")
    latency_from: Literal["Boards", "Here", "Nowhere"] = Field(
        description="Whose latencies were compared: the class's boards', this controller's, or nobody's."
    )
    others: list[str] = Field(default=[], description="What would be taken in its place, the best first.")


ClassState = Literal["Pending", "Converting", "Ready", "Refused", "Failed"]


class ClassVariant(Part):
    """What a version is for one class of board."""

    device_class: Label = Field(description="Name of the DeviceClass.")
    state: ClassState = Field(description="How far it is.")
    message: str = Field(default="", description="What it waits for or why there is no variant.")
    code: str = Field(default="", description="Why there is no variant, when there is none.")
    stage: str = Field(default="", description="What the converter is doing.")
    percent: int = Field(default=0, description="How much of it is done.")
    estimated_completion: datetime | None = Field(
        default=None,
        description="When the recipe under way is thought to be done (with `auto`, all of them), by how long such "
        "conversions took here before; absent when nobody knows.",
    )
    variant: Variant | None = None
    refusals: list[Refusal] = Field(default=[], description="Rungs of the ladder that were tried and refused.")
    candidates: list[Candidate] = Field(default=[], description="What was tried, with its figures.")
    choice: VariantChoice | None = Field(
        default=None,
        description="With variants: [auto]. What boards measure later is for the next version: a version's variant "
        "doesn't change unless the class does.",
    )
    attempts: int = Field(default=0, description="How often it was tried.")
    class_generation: int = Field(default=0, description="Generation of the DeviceClass that this was decided for.")


class ModelVersionStatus(Status):
    """A variant for each class in use."""

    phase: Literal["Pending", "Converting", "Ready", "PartlyRefused", "Refused", "Failed"] = Field(
        default="Pending", description="How far the conversion for all classes is."
    )
    message: str = Field(default="", description="What it waits for or why it failed.")
    classes: list[ClassVariant] = Field(default=[], description="What the version is for each class in use.")
