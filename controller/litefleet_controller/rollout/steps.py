"""From one step to the next: at most one transition a decision, so that each step is seen, once, in the status.

| where it stands                  | goes on when                                                    | to            |
|----------------------------------|-----------------------------------------------------------------|---------------|
| before the first step            | conversion is decided for every class and one takes part        | the first     |
| setWeight                        | every board of the weight is terminal, in each class            | the next      |
| pause with a duration            | that long has passed since the step began                       | the next      |
| pause without one                | someone promotes                                                | the next      |
| analysis                         | it is over and not Inconclusive (then: someone promotes)        | the next      |
| any step                         | no class is left that goes through the steps                    | past the last |
| past the last                    | never: everyone is commanded, classes complete one by one       |               |

Nothing moves while the rollout is held (spec.paused, a failure, an inconclusive analysis) or aborted.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal

from litefleet_controller.resources.rollout import ModelRolloutSpec, ModelRolloutStatus, Step
from litefleet_controller.rollout.classes import progressing, staged, waiting
from litefleet_controller.rollout.scene import Scene

Kind = Literal["setWeight", "pause", "analysis"]


def kind_of(step: Step) -> Kind:
    """Which of the three a step is."""
    return "pause" if step.pause is not None else "analysis" if step.analysis is not None else "setWeight"


def current(scene: Scene, status: ModelRolloutStatus) -> Step | None:
    """The step that it stands at, None before the first and past the last."""
    index = status.current_step_index
    return scene.steps[index] if index is not None and index < len(scene.steps) else None


def template_names(spec: ModelRolloutSpec) -> set[str]:
    """Every AnalysisTemplate that the steps and the background analysis name."""
    canary = spec.strategy.canary
    analyses = [*(s.analysis for s in canary.steps), canary.analysis]
    return {ref.template_name for analysis in analyses if analysis is not None for ref in analysis.templates}


def is_past_last(scene: Scene, status: ModelRolloutStatus) -> bool:
    """Whether everyone's turn has come."""
    return status.current_step_index is not None and status.current_step_index >= len(scene.steps)


def has_moved(before: ModelRolloutStatus, after: ModelRolloutStatus) -> bool:
    """Whether this decision already made its transition."""
    return (before.current_step_index, before.step_started_at) != (after.current_step_index, after.step_started_at)


def advance(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """One row of the table, when one holds."""
    if scene.is_held(status) or status.aborted or has_moved(scene.view.status, status):
        return status
    index = _next_index(scene, status)
    return status if index is None else enter(scene, status, index)


def _next_index(scene: Scene, status: ModelRolloutStatus) -> int | None:
    """Where to go, None to stay."""
    index, last = status.current_step_index, len(scene.steps)
    undecided = bool(waiting(status, scene.fleet))
    through_steps = bool(staged(status, scene.fleet))
    if index is None:
        may_start = progressing(status, scene.fleet) and not undecided
        return (0 if through_steps else last) if may_start else None
    if index > last:
        return last
    step = current(scene, status)
    if step is not None and through_steps:
        return index + 1 if _IS_DONE[kind_of(step)](scene, status, step) else None
    return last if step is not None and scene.fleet.by_class and not undecided else None


def enter(scene: Scene, status: ModelRolloutStatus, index: int) -> ModelRolloutStatus:
    """Stand at the step of `index` from now on."""
    return status.model_copy(update={"current_step_index": index, "step_started_at": scene.now, "pause_reason": ""})


def pause_end(status: ModelRolloutStatus, step: Step) -> datetime | None:
    """When a pause with a duration ends; None for any other step."""
    if step.pause is None or step.pause.duration is None or status.step_started_at is None:
        return None
    return status.step_started_at + timedelta(seconds=step.pause.duration)


def _is_weight_reached(scene: Scene, status: ModelRolloutStatus, _: Step) -> bool:
    return not any(scene.front(status, entry).open for entry in staged(status, scene.fleet))


def _is_pause_over(scene: Scene, status: ModelRolloutStatus, step: Step) -> bool:
    end = pause_end(status, step)
    return end is not None and scene.now >= end


def _is_analysis_over(_: Scene, status: ModelRolloutStatus, __: Step) -> bool:
    found = status.analysis
    return found is not None and found.step == status.current_step_index and found.phase in ("Successful", "Failed")


_IS_DONE: Mapping[Kind, Callable[[Scene, ModelRolloutStatus, Step], bool]] = {
    "setWeight": _is_weight_reached,
    "pause": _is_pause_over,
    "analysis": _is_analysis_over,
}
