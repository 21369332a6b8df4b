"""Model: a trained network and everything that decides what a version of it is."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.meta import Label, Part, Status
from litefleet_controller.resources.uris import BlobUri, parse_uri
from litefleet_controller.resources.variant import ClassVariant, Digest

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


class PrebuiltFile(Part):
    """A file that was compiled elsewhere and goes to boards as it is."""

    uri: str = Field(description=_URI_HELP)
    digest: Digest | None = Field(default=None, description=_DIGEST_HELP)
    tolerance: float | None = Field(
        default=None,
        gt=0,
        description="How far a board's answers to the golden samples may be from the source's, in the output's own "
        "units. By default as far as the int8 file that is made here for comparison is at worst; without one (no "
        "calibration set, or none that agrees with the source) it must be written.",
    )

    _uri = field_validator("uri")(check_uri)


class Prebuilt(Part):
    """Files that were compiled elsewhere, by the accelerator that they are for."""

    edgetpu: PrebuiltFile | None = Field(
        default=None,
        description="What Coral's edgetpu_compiler wrote (NAME_edgetpu.tflite). Classes with accelerator.kind edgetpu "
        "get it in place of what is made here; all others are converted from the source.",
    )


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
    prebuilt: Prebuilt | None = Field(
        default=None, description="Compiled files that boards with an accelerator get in place of a converted one."
    )

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


NamedFile = Source | Calibration | Training | Evaluation | PrebuiltFile
"""What names a file by `uri` and perhaps `digest`."""


def files_of(spec: ModelSpec) -> list[tuple[str, NamedFile]]:
    """The files that a Model names, each with the path of its field."""
    named = (
        ("spec.source", spec.source),
        ("spec.calibration", spec.calibration),
        ("spec.training", spec.training),
        ("spec.evaluation", spec.evaluation),
        ("spec.prebuilt.edgetpu", spec.prebuilt.edgetpu if spec.prebuilt is not None else None),
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


class ModelVersionStatus(Status):
    """A variant for each class in use."""

    phase: Literal["Pending", "Converting", "Ready", "PartlyRefused", "Refused", "Failed"] = Field(
        default="Pending", description="How far the conversion for all classes is."
    )
    message: str = Field(default="", description="What it waits for or why it failed.")
    classes: list[ClassVariant] = Field(default=[], description="What the version is for each class in use.")
