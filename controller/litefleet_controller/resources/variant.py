"""What conversion writes into a ModelVersion's status: for each class a variant, or why there is none."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from litefleet_controller.resources.meta import Label, Part

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


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


class TargetPrebuilt(Part):
    """What a file that was compiled elsewhere says of itself. It was read here and not run."""

    programs: int = Field(description="Operators that the accelerator runs.")
    program_bytes: int = Field(description="Bytes of the file that these are.")
    left: dict[str, int] = Field(default={}, description="Operators that stay on the processor, and how often.")
    compiler: str = Field(default="", description="The compiler's version, where the file names it.")
    runtime_version: int = Field(description="Oldest runtime of the accelerator that takes it.")


class VariantTarget(Part):
    """What was made of a variant for the class's accelerator."""

    name: str = Field(description="The class's accelerator.kind.")
    state: Literal["Available", "Missing", "DeviceSide"] = Field(
        description="Available: the file is what the accelerator runs. Missing: a tool for that isn't installed."
    )
    message: str = Field(default="", description="What was not proven, or what happens instead.")
    predicted: TargetPrediction | None = None
    compiled: TargetCompilation | None = None
    prebuilt: TargetPrebuilt | None = None


class VariantProvenance(Part):
    """What a variant was made of, and when. `litefleet explain variant` shows the whole."""

    statement: Digest = Field(description="Digest of the in-toto statement, kept as a blob, that has all of it.")
    source: Digest = Field(description="Digest of the source.")
    recipe: Digest | None = Field(
        default=None, description="Digest of what the recipe says; none for a file that was compiled elsewhere."
    )
    prebuilt: Digest | None = Field(default=None, description="Digest of the file that was compiled elsewhere.")
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

    recipe: str = Field(
        description="How it was made: a name that the ladder of a DeviceClass may have, or prebuilt for a file "
        "that was compiled elsewhere."
    )
    artifact: Digest = Field(description="Digest of the signed artifact manifest that boards fetch.")
    runtime: str = Field(default="litert", description="The engine that runs it.")
    digest: Digest = Field(description="Digest of the model's file; of several files, of the list of their digests.")
    size_bytes: int = Field(description="Size of the model's files together.")
    files: list[VariantFile] = Field(default=[], description="The model's files; the engine is given the first.")
    agreement: float | None = Field(
        default=None,
        description="Share of evaluation samples answered as the source does: with the same top answer, or with every "
        "output within the tolerance. None where nothing but the board can run it.",
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
