"""What the decision core sees, and what it answers. Plain frozen values; the reconciler fills and carries them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from litefleet_controller.resources.rollout import (
    AnalysisTemplateSpec,
    ModelRolloutSpec,
    ModelRolloutStatus,
)
from litefleet_protocol.histogram import Histogram


@dataclass(frozen=True, slots=True)
class Board:
    """One selected board, as far as this rollout's slot is concerned."""

    name: str
    device_class: str
    online: bool
    assigned_version: str = ""
    """ModelVersion it is commanded to run, empty for none."""
    assigned_artifact: str = ""
    assigned_at: datetime | None = None
    assigned_by: str = ""
    """Name of the rollout that commanded it; another name means that it was taken over or is claimed."""
    current_artifact: str = ""
    """What it says it serves."""
    current_version: str = ""
    desired_artifact: str = ""
    """What it says it follows; what it says of its phase counts only when this is `assigned_artifact`."""
    phase: str = ""
    """Phase of the slot as reported, empty when it never reported one."""
    code: str = ""
    message: str = ""
    conflict: str = ""
    """Name of the older rollout that claims this slot of this board, empty when nobody does."""


@dataclass(frozen=True, slots=True)
class VersionForClass:
    """What a version is for a class."""

    state: Literal["Pending", "Converting", "Ready", "Refused", "Failed"]
    artifact: str = ""
    recipe: str = ""
    code: str = ""
    message: str = ""
    refusals: tuple[str, ...] = ()
    """Sentences about better rungs that were refused on the way."""
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """Telemetry of one version on the boards of one class over one span."""

    count: int = 0
    errors: int = 0
    latency_ms: Histogram = field(default_factory=Histogram)
    confidence: Histogram = field(default_factory=Histogram)
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both arms for one class, over the same time (`control`), or the class's own past when there is no control."""

    device_class: str
    canary: Arm
    control: Arm
    baseline: Literal["control", "past"] = "control"
    since: datetime | None = None
    """The `since` of the span that this answers; None fits every span."""


@dataclass(frozen=True, slots=True)
class Request:
    """A person's verb from the annotation."""

    verb: str
    id: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """Everything that a decision hangs on."""

    name: str
    uid: str
    generation: int
    spec: ModelRolloutSpec
    status: ModelRolloutStatus
    """As stored: the only memory that the core has."""
    target: str
    """The ModelVersion that modelRef resolves to, empty when there is none (yet)."""
    target_missing: str
    """Why there is no target: one sentence, empty when there is one."""
    boards: Sequence[Board]
    versions: Mapping[tuple[str, str], VersionForClass]
    """(ModelVersion, class) for the target and for every version that some class has as stable."""
    templates: Mapping[str, AnalysisTemplateSpec]
    evidence: Sequence[Evidence]
    """Filled when `needs_evidence(view)` asked for it."""
    request: Request | None = None
    missing_classes: frozenset[str] = frozenset()
    """Classes of the boards for which there is no DeviceClass."""


@dataclass(frozen=True, slots=True)
class EvidenceSpan:
    """What telemetry the core wants before it decides: both arms since `since`, for these classes."""

    since: datetime
    classes: Mapping[str, tuple[str, str]]
    """Class to (canary version, control version; empty when the class has no control board)."""
    past: Mapping[str, str] = field(default_factory=dict)
    """For classes without a control board: the version whose telemetry before `past_until` is the baseline."""
    past_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """Put `version` on a board; an empty version empties the slot."""

    device: str
    version: str
    artifact: str
    fallback: str
    device_class: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth an event: reason in CamelCase, one sentence."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    commands: Sequence[Command]
    status: ModelRolloutStatus
    notices: Sequence[Notice] = ()
    requeue_after_s: float | None = None
    """When time alone would change the decision."""
    consumed_request: bool = False
