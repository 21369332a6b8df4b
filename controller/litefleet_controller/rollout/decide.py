"""The decision core of ModelRollout: what is known goes in, commands and the new status come out.

The reconciler asks `needs_evidence`, queries telemetry, calls `decide`, and commits commands and status in one
transaction; then again whenever anything changed. `view.status` is the only memory: the same view and time give the
same decision, a decision that was never committed is made again, and with nothing to do the status comes back equal.

The order within a decision: target, request, classes, thresholds, analysis, completion, one step on, commands, words.
"""

from collections.abc import Sequence
from datetime import datetime

from litefleet_controller.resources.rollout import ModelRolloutStatus
from litefleet_controller.rollout.classes import abort, complete, progressing, refresh
from litefleet_controller.rollout.clock import without_future
from litefleet_controller.rollout.commands import commands
from litefleet_controller.rollout.evaluation import evaluate, inquiries, start
from litefleet_controller.rollout.failures import check_thresholds, lost
from litefleet_controller.rollout.looks import spans
from litefleet_controller.rollout.message import describe
from litefleet_controller.rollout.notices import notices
from litefleet_controller.rollout.phase import conditions, pause_reason, phase_of
from litefleet_controller.rollout.requests import answer_request
from litefleet_controller.rollout.scene import Scene, set_scene
from litefleet_controller.rollout.steps import advance, is_past_last
from litefleet_controller.rollout.target import follow_target, spec_digest
from litefleet_controller.rollout.view import Decision, EvidenceSpan, RolloutView
from litefleet_controller.rollout.wake import AGAIN_S, requeue_after


def needs_evidence(view: RolloutView, now: datetime) -> Sequence[EvidenceSpan]:
    """What telemetry `decide(view, now)` would look at; empty when no look is due."""
    if not view.target:
        return ()
    scene = set_scene(without_future(view, now), now)
    status = _before_looks(scene)
    return spans(inquiries(scene, status), scene.view, status, scene.fleet, now)


def decide(view: RolloutView, now: datetime) -> Decision:
    """What to command now, and the status that explains it."""
    view = without_future(view, now)
    scene = set_scene(view, now)
    status = _progress(scene) if view.target else view.status
    told = commands(scene, status) if view.target else []
    status = _described(scene, status)
    return Decision(
        commands=tuple(told),
        status=status,
        notices=tuple(notices(view.status, status, len(scene.steps))),
        requeue_after_s=AGAIN_S if told else requeue_after(scene, status),
        consumed_request=view.request is not None
        and status.last_request is not None
        and status.last_request.id == view.request.id,
    )


def _before_looks(scene: Scene) -> ModelRolloutStatus:
    status = follow_target(scene, scene.view.status)
    status = refresh(scene.view, scene.fleet, status, scene.now)
    status = answer_request(scene, status)
    status = refresh(scene.view, scene.fleet, status, scene.now)
    return check_thresholds(scene, status)


def _progress(scene: Scene) -> ModelRolloutStatus:
    status = evaluate(scene, _before_looks(scene))
    status = _complete_classes(scene, status)
    return start(scene, advance(scene, status))


def _complete_classes(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """A class is done when everyone's turn has come, every board is terminal, and one at least serves the target."""
    if status.pause_reason == "Failure":
        return status
    for entry in progressing(status, scene.fleet):
        front = scene.front(status, entry)
        may_end = is_past_last(scene, status) or entry.stable == scene.view.target
        if not may_end or front.open or front.quota != len(front.boards):
            continue
        if front.updated:
            status = complete(scene.view, status, entry, scene.now)
        elif front.failed and not front.timed_out:
            # Somebody promoted past the failure, and no board is left that could still come to serve the target.
            status = abort(scene.view, scene.fleet, status, lost(scene, entry, front), scene.now)
    return status


def _described(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Counts, phase, message and conditions, all read off the boards and what was decided."""
    classes = [c.model_copy(update={"counts": scene.front(status, c).counts()}) for c in status.classes]
    status = status.model_copy(update={"classes": classes, "pause_reason": pause_reason(scene, status)})
    seen = {"observed_generation": scene.view.generation, "attempted_spec": spec_digest(scene.view.spec)}
    status = status.model_copy(update={"phase": phase_of(scene, status), **seen})
    status = status.model_copy(update={"message": describe(scene, status)})
    return status.model_copy(update={"conditions": conditions(scene, status)})
