"""ModelRollout and AnalysisTemplate, in the words of Argo Rollouts and AWS IoT Jobs."""

import itertools
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.meta import Label, LabelSelector, Name, Part, Status
from litefleet_controller.resources.quantities import CountOrPercent, Duration, Percent

REQUEST_ANNOTATION = "litefleet.dev/request"
"""`<verb> <id>`: a person's promote, abort or retry, consumed once by the reconciler."""
REQUEST_VERBS = ("promote", "abort", "retry")


def check_version(value: int | str) -> int | str:
    """`latest`, a number, or a ModelVersion's name."""
    if isinstance(value, bool) or (isinstance(value, int) and value < 1):
        raise FieldError("OutOfRange", "a version is 'latest', a number from 1, or a ModelVersion's name")
    return value


class ModelRef(Part):
    """Which model, and which version of it."""

    name: Label = Field(description="Name of the Model.")
    version: Annotated[int | str, AfterValidator(check_version)] = Field(
        default="latest", description="latest follows every new version; a number or a ModelVersion's name pins."
    )


class AnalysisRef(Part):
    """A template to run."""

    template_name: Name = Field(description="Name of the AnalysisTemplate.")


class AnalysisStep(Part):
    """Judge the canary against the control boards before going on."""

    templates: list[AnalysisRef] = Field(min_length=1, description="Templates, all of which must succeed.")


class BackgroundAnalysis(AnalysisStep):
    """Judge all the time, from a step on."""

    starting_step: int = Field(default=0, ge=0, description="Index of the first step that it runs in.")


class PauseStep(Part):
    """Wait: a while, or until someone promotes."""

    duration: Duration | None = Field(
        default=None, description="How long, e.g. 10m; without it, until someone promotes."
    )


class Step(Part):
    """Exactly one of these."""

    set_weight: int | None = Field(
        default=None, ge=0, le=100, strict=True, description="Percent of each class; rounds up."
    )
    pause: PauseStep | None = None
    analysis: AnalysisStep | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Step":
        if sum(v is not None for v in (self.set_weight, self.pause, self.analysis)) != 1:
            raise ValueError("a step has exactly one of setWeight, pause, analysis")
        return self


class Canary(Part):
    """In steps; after the last one, everyone."""

    steps: list[Step] = Field(default=[], max_length=100, description="What happens, in this order.")
    max_unavailable: CountOrPercent = Field(
        default="25%", description="Boards in mid-update at once, over all classes."
    )
    analysis: BackgroundAnalysis | None = None

    @field_validator("steps")
    @classmethod
    def _weights_go_up(cls, steps: list[Step]) -> list[Step]:
        weights = [s.set_weight for s in steps if s.set_weight is not None]
        for earlier, later in itertools.pairwise(weights):
            if later < earlier:
                raise FieldError(
                    "OutOfRange", f"setWeight goes down from {earlier} to {later}: steps only widen a rollout"
                )
        return steps


class Strategy(Part):
    """How."""

    canary: Canary = Canary()


class ModelRolloutSpec(Part):
    """Which model goes to which boards, and how carefully."""

    model_ref: ModelRef
    selector: LabelSelector = LabelSelector()
    strategy: Strategy = Strategy()
    device_timeout_seconds: int = Field(
        default=3600, ge=1, description="A board that stays away this long counts as timed out."
    )
    success_threshold: Percent = Field(default=100.0, description="Share of a class's boards that must succeed.")
    probation_seconds: float = Field(default=10.0, ge=0, le=86400, description="How long a board watches a new model.")
    on_failure: Literal["Rollback", "Pause"] = Field(
        default="Rollback", description="Rollback takes a failing class back; Pause leaves it for someone to look at."
    )
    revision_history_limit: int = Field(default=10, ge=0, le=100, description="Versions that status.history remembers.")
    paused: bool = Field(default=False, description="Stop here until it is false again.")


class ClassCounts(Part):
    """Boards of a class by where they stand."""

    total: int = Field(default=0, description="Boards that the selector finds.")
    target: int = Field(default=0, description="Commanded to the target version.")
    updated: int = Field(default=0, description="Run the target version and passed probation.")
    progressing: int = Field(default=0, description="Commanded, and not yet done.")
    failed: int = Field(default=0, description="Refused it, failed or fell back.")
    timed_out: int = Field(default=0, description="Stayed away for too long.")
    offline: int = Field(default=0, description="Not connected.")


class RolloutClass(Part):
    """How the rollout goes for one class. A class stops alone; the others go on."""

    device_class: Label = Field(description="Name of the DeviceClass.")
    state: Literal["Waiting", "Progressing", "Complete", "Aborted", "Refused"] = Field(description="How far it is.")
    stable: str = Field(default="", description="ModelVersion that the class goes back to.")
    target: str = Field(default="", description="ModelVersion that the class goes to.")
    recipe: str = Field(default="", description="Recipe of the variant that the class gets.")
    cause: str = Field(default="", description="Code of the refusal or abort.")
    message: str = Field(default="", description="In plain words, what it waits for or why it stopped.")
    accepted_failures: int = Field(default=0, description="Failed boards that someone promoted past.")
    counts: ClassCounts = ClassCounts()


class MetricResult(Part):
    """One metric, canary against control, with the numbers."""

    device_class: Label = Field(description="Name of the DeviceClass.")
    metric: str = Field(description="What was measured.")
    template: str = Field(default="", description="AnalysisTemplate that asked for it.")
    verdict: Literal["Successful", "Failed", "Inconclusive"] = Field(description="What came of it.")
    canary: float | None = Field(default=None, description="The canary boards' value.")
    control: float | None = Field(default=None, description="The control boards' value.")
    value: float | None = Field(
        default=None, description="What was compared with the limit: a difference, ratio or PSI."
    )
    limit: float | None = Field(default=None, description="The limit that the template sets.")
    canary_samples: int = Field(default=0, description="Inferences on the canary boards.")
    control_samples: int = Field(default=0, description="Inferences on the control boards.")
    baseline: Literal["control", "past"] = Field(
        default="control", description="What it was compared with: control boards, or the class's own past."
    )
    message: str = Field(default="", description="The verdict in plain words.")


class AnalysisRun(Part):
    """How one template goes for one class: looks are counted here, so that a restart forgets none."""

    template: Name = Field(description="Name of the AnalysisTemplate.")
    device_class: Label = Field(description="Name of the DeviceClass.")
    phase: Literal["Running", "Successful", "Failed", "Inconclusive"] = Field(
        default="Running", description="How it goes."
    )
    successful: int = Field(default=0, description="Successful looks.")
    failed: int = Field(default=0, description="Failed looks.")
    last_look_at: datetime | None = Field(default=None, description="When it last looked.")


class AnalysisStatus(Part):
    """The last analysis."""

    step: int | None = Field(default=None, description="Index of the step, absent for the background analysis.")
    phase: Literal["Running", "Successful", "Failed", "Inconclusive"] = Field(description="How it goes.")
    started_at: datetime = Field(description="When it began.")
    finished_at: datetime | None = Field(default=None, description="When it ended.")
    message: str = Field(default="", description="In plain words.")
    runs: list[AnalysisRun] = Field(default=[], description="Each template for each class.")
    results: list[MetricResult] = Field(default=[], description="The newest numbers.")


class RolloutRevision(Part):
    """One version's way through, for `history` and `undo`."""

    version: str = Field(description="Name of the ModelVersion.")
    device_class: Label = Field(description="Name of the DeviceClass.")
    outcome: Literal["Complete", "Aborted", "Refused", "Superseded"] = Field(description="How it ended.")
    cause: str = Field(default="", description="Stable code of the reason, when it ended badly.")
    message: str = Field(default="", description="That reason in plain words.")
    finished_at: datetime = Field(description="When it ended.")


class RequestRecord(Part):
    """The last verb that a person sent, and what became of it."""

    verb: str = Field(description="promote, abort or retry.")
    id: str = Field(description="The request's own id, so that it is done once.")
    by: str = Field(default="", description="Who asked.")
    at: datetime = Field(description="When it was done.")
    outcome: str = Field(default="", description="What became of it.")


class ModelRolloutStatus(Status):
    """Where it stands."""

    phase: Literal["Healthy", "Progressing", "Paused", "Degraded"] | None = Field(
        default=None, description="Where it stands as a whole."
    )
    message: str = Field(default="", description="In plain words, what it waits for.")
    target_version: str = Field(default="", description="Name of the ModelVersion that boards go to.")
    current_step_index: int | None = Field(
        default=None, description="Index of the step that is in progress, counted from 0."
    )
    step_started_at: datetime | None = Field(default=None, description="When that step began.")
    started_at: datetime | None = Field(default=None, description="When the rollout of the target version began.")
    pause_reason: str = Field(default="", description="Why it is paused: Step, Spec, Inconclusive, Failure.")
    attempted_spec: str = Field(default="", description="Digest of the spec last acted on; a change of it tries again.")
    aborted: bool = Field(default=False, description="Whether it was taken back.")
    classes: list[RolloutClass] = Field(default=[], description="How it goes for each class.")
    analysis: AnalysisStatus | None = None
    background_analysis: AnalysisStatus | None = None
    history: list[RolloutRevision] = Field(default=[], description="Versions that went through, the newest first.")
    last_request: RequestRecord | None = None


MetricName = Literal["errorRate", "latencyP95", "confidence", "classMix"]


class Metric(Part):
    """A limit on how much worse than the control group the canary may be."""

    name: Name = Field(description="A name for it in results.")
    metric: MetricName = Field(description="What is measured.")
    max_increase: float | None = Field(
        default=None, ge=0, description="errorRate: absolute increase of the share of errors."
    )
    max_ratio: float | None = Field(default=None, gt=0, description="latencyP95: canary / control.")
    max_drop: float | None = Field(default=None, ge=0, le=1, description="confidence: absolute drop of the mean.")
    max_psi: float | None = Field(default=None, gt=0, description="classMix, confidence: population stability index.")

    @model_validator(mode="after")
    def _limit_fits(self) -> "Metric":
        fitting = {
            "errorRate": {"max_increase"},
            "latencyP95": {"max_ratio"},
            "confidence": {"max_drop", "max_psi"},
            "classMix": {"max_psi"},
        }[self.metric]
        given = {f for f in ("max_increase", "max_ratio", "max_drop", "max_psi") if getattr(self, f) is not None}
        if not given or not given <= fitting:
            names = " or ".join(sorted(_camel(f) for f in fitting))
            raise ValueError(f"metric {self.metric} takes {names}")
        return self


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(r.title() for r in rest)


class AnalysisTemplateSpec(Part):
    """What is measured, how long, and what is too bad. A class without a control group is judged by its own past."""

    metrics: list[Metric] = Field(min_length=1, max_length=20, description="Limits, all of which must hold.")
    min_samples: int = Field(default=200, ge=1, description="Inferences needed in each arm of a class.")
    initial_delay: Duration = Field(default=0.0, description="Left out after the last board of the step was updated.")
    interval: Duration = Field(default=10.0, description="Time between two looks.")
    count: int = Field(default=1, ge=1, le=1000, description="Successful looks that make the analysis successful.")
    failure_limit: int = Field(default=0, ge=0, description="Failed looks that are forgiven.")
    timeout: Duration = Field(default=600.0, description="After this long with too few samples it is Inconclusive.")


class AnalysisTemplateStatus(Status):
    """Nothing yet."""
