"""Carry the analyses on: start them, take due looks, and turn what they found into aborts, a pause, or the way on."""

from collections.abc import Sequence

from litefleet_controller.resources.rollout import (
    AnalysisRef,
    AnalysisStatus,
    ModelRolloutStatus,
    RolloutClass,
)
from litefleet_controller.rollout.analysis import CAUSES
from litefleet_controller.rollout.classes import progressing, staged
from litefleet_controller.rollout.failures import fail
from litefleet_controller.rollout.looks import Inquiry, failure, inquiry, look
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.steps import current, is_past_last


def judged(scene: Scene, status: ModelRolloutStatus) -> list[RolloutClass]:
    """Classes with a canary to judge. One whose boards are all away has none, and holds nobody up."""
    return [e for e in staged(status, scene.fleet) if scene.front(status, e).updated]


def step_refs(scene: Scene, status: ModelRolloutStatus) -> Sequence[AnalysisRef]:
    """The templates of the current step, none when it isn't an analysis."""
    step = current(scene, status)
    return step.analysis.templates if step is not None and step.analysis is not None else ()


def step_inquiry(scene: Scene, status: ModelRolloutStatus) -> Inquiry | None:
    """The step's analysis, once it has started and until it is over."""
    found, refs = status.analysis, step_refs(scene, status)
    if not refs or found is None or found.step != status.current_step_index or found.phase != "Running":
        return None
    return inquiry(scene.view, found, refs, judged(scene, status))


def background_inquiry(scene: Scene, status: ModelRolloutStatus) -> Inquiry | None:
    """The analysis beside the steps, while it runs."""
    spec, found = scene.view.spec.strategy.canary.analysis, status.background_analysis
    if spec is None or found is None or found.phase != "Running":
        return None
    return inquiry(scene.view, found, spec.templates, judged(scene, status))


def inquiries(scene: Scene, status: ModelRolloutStatus) -> list[Inquiry]:
    """Everything under way. A paused or aborted rollout takes no looks."""
    if scene.view.spec.paused or status.aborted:
        return []
    both = step_inquiry(scene, status), background_inquiry(scene, status)
    return [i for i in both if i is not None]


def evaluate(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Take the due looks, then draw the conclusions."""
    for running in inquiries(scene, status):
        found = look(running, scene.view.evidence, scene.now)
        field = "background_analysis" if running.is_background else "analysis"
        status = _fail_classes(scene, status.model_copy(update={field: found}), running.found, found)
    return _conclude_background(scene, _conclude_step(scene, status))


def start(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Begin what the current step asks for, as soon as all its templates exist."""
    if scene.view.spec.paused or status.aborted or not staged(status, scene.fleet):
        return status
    refs = step_refs(scene, status)
    is_new = status.analysis is None or status.analysis.step != status.current_step_index
    if refs and is_new and not missing_templates(scene, refs):
        begun = AnalysisStatus(step=status.current_step_index, phase="Running", started_at=scene.now)
        status = status.model_copy(update={"analysis": begun})
    background = scene.view.spec.strategy.canary.analysis
    index = status.current_step_index
    if background is None or index is None or index < background.starting_step:
        return status
    is_idle = status.background_analysis is None or status.background_analysis.finished_at is not None
    if is_idle and not missing_templates(scene, background.templates):
        begun = AnalysisStatus(phase="Running", started_at=scene.now)
        status = status.model_copy(update={"background_analysis": begun})
    return status


def missing_templates(scene: Scene, refs: Sequence[AnalysisRef]) -> list[str]:
    """Names among `refs` that no AnalysisTemplate has."""
    return [r.template_name for r in refs if r.template_name not in scene.view.templates]


def _fail_classes(
    scene: Scene, status: ModelRolloutStatus, before: AnalysisStatus, after: AnalysisStatus
) -> ModelRolloutStatus:
    for entry in progressing(status, scene.fleet):
        worst = failure(after, entry.device_class)
        if worst is not None and failure(before, entry.device_class) is None:
            status = fail(scene, status, entry, CAUSES[worst.metric], worst.message)
    return status


def _conclude_step(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    running = step_inquiry(scene, status)
    if running is not None and not running.missing:
        status = status.model_copy(update={"analysis": _concluded(scene, running)})
    found = status.analysis
    is_stuck = found is not None and found.step == status.current_step_index and found.phase == "Inconclusive"
    if is_stuck and not status.pause_reason and not status.aborted:
        return status.model_copy(update={"pause_reason": "Inconclusive"})
    return status


def _concluded(scene: Scene, running: Inquiry) -> AnalysisStatus:
    if running.running():
        return running.found
    phases = {running.run(t, e.device_class).phase for t in running.refs for e in running.entries}
    if "Inconclusive" in phases:
        return _finished(scene, running.found, "Inconclusive", "too little evidence before the template's timeout")
    bad = sorted({r.device_class for r in running.found.runs if r.phase == "Failed"})
    if bad:
        return _finished(scene, running.found, "Failed", f"failed for {', '.join(bad)}")
    return _finished(scene, running.found, "Successful", "" if phases else "no board was updated: nothing to judge")


def _conclude_background(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    found = status.background_analysis
    if found is None or found.phase != "Running":
        return status
    over = status.aborted or (is_past_last(scene, status) and not staged(status, scene.fleet))
    if not over:
        return status
    bad = sorted({r.device_class for r in found.runs if r.phase == "Failed"})
    done = _finished(scene, found, "Failed" if bad else "Successful", f"failed for {', '.join(bad)}" if bad else "")
    return status.model_copy(update={"background_analysis": done})


def _finished(scene: Scene, found: AnalysisStatus, phase: str, message: str) -> AnalysisStatus:
    return found.model_copy(update={"phase": phase, "finished_at": scene.now, "message": message})
