"""DeviceClass and Device: what kinds of board there are, and the boards."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from litefleet_controller.resources.meta import Label, Part, Status

Recipe = Literal["float32", "float16", "dynamic-int8", "int8"]


class Accelerator(Part):
    """What runs the model."""

    kind: Literal["cpu"] = Field(default="cpu", description="This version serves cpu.")
    threads: int = Field(default=1, ge=1, le=64)


class Limits(Part):
    """What a variant must hold for this class."""

    max_artifact_bytes: int | None = Field(default=None, ge=1)
    max_memory_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Resident memory of the agent while it serves the model: about 64 MB without one, on top of which "
        "come the file and the activations (checked at conversion), and the version before while it is kept ready.",
    )
    max_latency_ms: float | None = Field(
        default=None, gt=0, description="95th percentile, measured on the board in probation."
    )
    max_accuracy_drop: float = Field(default=0.02, ge=0, le=1, description="Source's accuracy minus the variant's.")
    min_agreement: float = Field(default=0.95, ge=0, le=1, description="Share of samples answered as the source does.")


class DeviceClassSpec(Part):
    """A kind of board."""

    runtime: Literal["litert"] = Field(default="litert", description="This version serves litert.")
    runtime_version: str | None = None
    accelerator: Accelerator = Accelerator()
    variants: list[Recipe] = Field(min_length=1, description="The ladder: tried in this order until one is proven.")
    limits: Limits = Limits()


class DeviceClassStatus(Status):
    """How many boards are of it."""

    devices: int = 0


class DeviceSpec(Part):
    """A board. Made by enrollment; its labels are what rollouts select."""

    device_class: Label = Field(alias="class")


class DeviceSlot(Part):
    """One model on the board."""

    slot: Label
    phase: Literal["Pending", "Preparing", "ReadyToUpdate", "Applying", "Verifying", "Updated", "RollingBack", "Failed"]
    current: str | None = Field(default=None, description="Artifact that serves.")
    current_version: str = ""
    desired: str | None = None
    desired_version: str = ""
    previous: str | None = None
    code: str = ""
    message: str = ""
    progress: str = ""


class DeviceStatus(Status):
    """What the board last said."""

    connection: Literal["Online", "Offline", "Unknown"] = "Unknown"
    connection_id: str = ""
    last_seen: datetime | None = None
    agent_version: str = ""
    runtimes: dict[str, str] = {}
    machine: str = ""
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    boot_id: str = ""
    epoch: int = 0
    counter: int = 0
    slots: list[DeviceSlot] = []
    code: str = ""
    message: str = ""
