"""DeviceClass and Device: what kinds of board there are, and the boards."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.meta import Label, Part, Status
from litefleet_controller.resources.recipe import AcceleratorKind, Engine, Objective, candidates, recipes
from litefleet_controller.resources.release import PATTERN

AUTO = "auto"
"""In place of a ladder: the recipes that suit the class are tried, and the best of them by its objective is taken."""
DEFAULT_OBJECTIVE: Objective = "size"
"""Known exactly as soon as a variant is made, and paid for with every rollout; the limits guard accuracy. Latency is
known only once boards have run a variant."""


def _check_recipe(name: str, info: ValidationInfo) -> str:
    """A rung must be there, and made for the class's engine: a board can't open another one's files."""
    known = recipes()
    if name == AUTO:
        return name
    if name not in known:
        raise ValueError(
            f"{name!r} is no recipe; there are {', '.join(known)}, and {AUTO}, alone, for the best of them"
        )
    runtime = info.data.get("runtime")
    if runtime is not None and known[name].engine != runtime:
        fitting = ", ".join(n for n, how in known.items() if how.engine == runtime)
        raise FieldError(
            "WrongRuntime",
            f"{name} is made for the runtime {known[name].engine}, and this class has {runtime}: write one of "
            f"{fitting}, or set spec.runtime to {known[name].engine}",
        )
    return name


Recipe = Annotated[str, AfterValidator(_check_recipe), WithJsonSchema({"type": "string", "enum": [*recipes(), AUTO]})]


class Accelerator(Part):
    """What runs the model."""

    kind: AcceleratorKind = Field(
        default="cpu",
        description="The board's processor, a Coral Edge TPU, a Movidius Myriad X or a GPU; `litefleet targets` says "
        "what can be made for each.",
    )
    threads: int = Field(default=1, ge=1, le=64, description="Threads that the engine uses.")


class Limits(Part):
    """What a variant must hold for this class."""

    max_artifact_bytes: int | None = Field(default=None, ge=1, description="Largest file that fits.")
    max_memory_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Resident memory of the agent while it serves the model: about 64 MB without one (85 with ONNX "
        "Runtime, 105 with OpenVINO), on top of which "
        "come the file and the activations (checked at conversion), and the version before while it is kept ready.",
    )
    max_latency_ms: float | None = Field(
        default=None, gt=0, description="95th percentile, measured on the board in probation."
    )
    max_accuracy_drop: float = Field(default=0.02, ge=0, le=1, description="Source's accuracy minus the variant's.")
    min_agreement: float = Field(default=0.95, ge=0, le=1, description="Share of samples answered as the source does.")


class DeviceClassSpec(Part):
    """A kind of board."""

    # Before variants, which are checked against it.
    runtime: Engine = Field(
        default="litert", description="The engine on these boards. Every recipe of the ladder must be made for it."
    )
    runtime_version: str | None = Field(
        default=None,
        pattern=PATTERN,
        max_length=64,
        description="Oldest version of the engine on these boards, e.g. 2.3.0 or 'tflite-runtime 2.14.0': a variant "
        "that it can't run is refused. As new as the controller's own when it isn't given.",
    )
    accelerator: Accelerator = Accelerator()
    variants: list[Recipe] = Field(
        min_length=1,
        description="The ladder: tried in this order until one is proven. Or [auto]: every recipe that suits the "
        "runtime and the accelerator is tried, and of those that hold the limits the best by the objective is taken.",
    )
    objective: Objective | None = Field(
        default=None,
        description="With variants: [auto], what the best one is best in: size (the default; known as soon as a "
        "variant is made), accuracy, or latency (as this class's boards measured it; until they have, as this "
        "controller did where its processor is like theirs, and else size).",
    )
    limits: Limits = Limits()

    @property
    def is_auto(self) -> bool:
        """Whether measurement chooses, and no ladder."""
        return self.variants == [AUTO]

    @field_validator("variants")
    @classmethod
    def _auto_alone(cls, variants: list[str], info: ValidationInfo) -> list[str]:
        if AUTO not in variants:
            return variants
        if len(variants) > 1:
            raise FieldError(
                "Invalid", f"{AUTO} stands alone: write [{AUTO}], or a ladder of recipes, which are tried in order"
            )
        runtime, accelerator = info.data.get("runtime"), info.data.get("accelerator")
        if runtime is not None and accelerator is not None and not candidates(runtime, accelerator.kind):
            raise FieldError(
                "NoCandidates",
                f"no recipe is a candidate for the runtime {runtime} on {accelerator.kind}: change one of the two, or "
                "write a ladder of recipes",
            )
        return variants

    @field_validator("objective")
    @classmethod
    def _objective_of_auto(cls, objective: Objective | None, info: ValidationInfo) -> Objective | None:
        if objective is not None and info.data.get("variants", [AUTO]) != [AUTO]:
            raise FieldError(
                "Invalid",
                f"only variants: [{AUTO}] has an objective: leave it out, a ladder's order says what is better already",
            )
        return objective


class DeviceClassStatus(Status):
    """How many boards are of it."""

    devices: int = Field(default=0, description="Boards of this class.")


class DeviceSpec(Part):
    """A board. Made by enrollment; its labels are what rollouts select."""

    device_class: Label = Field(alias="class", description="Name of the DeviceClass.")


class DeviceSlot(Part):
    """One model on the board."""

    slot: Label = Field(description="The Model's name.")
    phase: Literal[
        "Pending", "Preparing", "ReadyToUpdate", "Applying", "Verifying", "Updated", "RollingBack", "Failed"
    ] = Field(description="How far the change to the desired version is.")
    current: str | None = Field(default=None, description="Artifact that serves.")
    current_version: str = Field(default="", description="Name of the ModelVersion that serves.")
    desired: str | None = Field(default=None, description="Artifact that the board was told to run.")
    desired_version: str = Field(default="", description="Name of the ModelVersion that the board was told to run.")
    previous: str | None = Field(default=None, description="Artifact that the board would fall back to.")
    code: str = Field(default="", description="Stable code of the slot's last failure.")
    message: str = Field(default="", description="That failure in plain words.")
    progress: str = Field(default="", description="What the board is doing, e.g. how much it has fetched.")


class DeviceAccelerator(Part):
    """Something that an engine on the board could run models on."""

    name: str = Field(description="As the engine calls it, e.g. cpu, edgetpu, GPU, CUDAExecutionProvider.")
    description: str = Field(default="", description="What it is, when it works.")
    code: str = Field(default="", description="Why it doesn't work, e.g. AcceleratorFailed; empty when it does.")
    message: str = Field(default="", description="The same in plain words.")


class DeviceEngine(Part):
    """An engine on the board, as it was found by loading it."""

    name: str = Field(description="litert, openvino or onnxruntime, as spec.runtime of a DeviceClass.")
    version: str = Field(default="", description="Its release.")
    code: str = Field(default="", description="Why it doesn't load, e.g. RuntimeBroken; empty when it does.")
    message: str = Field(default="", description="The same in plain words.")
    accelerators: list[DeviceAccelerator] = Field(
        default=[], description="What it found to run models on. What isn't on the board isn't listed."
    )


class DeviceStatus(Status):
    """What the board last said."""

    connection: Literal["Online", "Offline", "Unknown"] = Field(
        default="Unknown", description="Whether the board is connected to the broker."
    )
    connection_id: str = Field(
        default="", description="The connection that said so last, so that a late farewell can't undo a new one."
    )
    last_seen: datetime | None = Field(default=None, description="When the board last said anything.")
    agent_version: str = Field(default="", description="Version of the program on the board.")
    runtimes: dict[str, str] = Field(default={}, description="Versions of the engines on the board, by name.")
    engines: list[DeviceEngine] = Field(
        default=[], description="The engines as the board found them by trying, and what they can run models on."
    )
    machine: str = Field(default="", description="Processor architecture, as the board names it.")
    memory_bytes: int | None = Field(default=None, description="Memory of the board.")
    disk_free_bytes: int | None = Field(default=None, description="Room left for models.")
    boot_id: str = Field(default="", description="Changes whenever the board starts.")
    epoch: int = Field(default=0, description="The leader's epoch that the board follows.")
    counter: int = Field(default=0, description="The newest desired state that the board has taken in.")
    slots: list[DeviceSlot] = Field(default=[], description="The models on the board, one entry a slot.")
    code: str = Field(default="", description="Stable code of the board's last error, empty when there is none.")
    message: str = Field(default="", description="That error in plain words.")
