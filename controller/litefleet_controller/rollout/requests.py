"""A person's verbs: promote, abort, retry. Each takes effect once, by its id, and leaves its outcome in the status.

`promote` ends a pause, whatever its reason but spec.paused. `abort` takes every class that isn't done back to its
stable version. `retry` starts an aborted or paused-by-failure rollout anew, and repeats an inconclusive analysis.
"""

from collections.abc import Callable, Mapping

from litefleet_controller.resources.rollout import ModelRolloutStatus, RequestRecord
from litefleet_controller.rollout.classes import ABORTED_BY_HAND, abort, progressing, replaced, staged
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.steps import current, enter
from litefleet_controller.rollout.target import try_again

Answer = tuple[ModelRolloutStatus, str]


def answer_request(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Carry the request out, unless its id was answered before."""
    request = scene.view.request
    if request is None or (status.last_request is not None and status.last_request.id == request.id):
        return status
    verb = _VERBS.get(request.verb)
    outcome = f"{request.verb!r} is not a verb: promote, abort or retry"
    if verb is not None:
        status, outcome = verb(scene, status)
    record = RequestRecord(verb=request.verb, id=request.id, by=request.by, at=scene.now, outcome=outcome)
    return status.model_copy(update={"last_request": record})


def _promote(scene: Scene, status: ModelRolloutStatus) -> Answer:
    if status.aborted:
        return status, "nothing to promote: the rollout is aborted; retry starts it anew"
    if status.pause_reason == "Failure":
        for entry in progressing(status, scene.fleet):
            accepted = {"accepted_failures": len(scene.front(status, entry).failed), "cause": "", "message": ""}
            status = replaced(status, entry.model_copy(update=accepted))
        return status.model_copy(update={"pause_reason": ""}), "promoted in spite of the failure"
    index, step = status.current_step_index, current(scene, status)
    if index is not None and status.pause_reason == "Inconclusive":
        return enter(scene, status, index + 1), "promoted in spite of the inconclusive analysis"
    if index is not None and step is not None and step.pause is not None and staged(status, scene.fleet):
        return enter(scene, status, index + 1), f"promoted past step {index + 1}"
    if scene.view.spec.paused:
        return status, "nothing to promote: spec.paused holds the rollout; set it to false"
    return status, "nothing to promote: the rollout is not paused"


def _abort(scene: Scene, status: ModelRolloutStatus) -> Answer:
    running = [
        c for c in status.classes if c.state in ("Waiting", "Progressing") and c.device_class in scene.fleet.by_class
    ]
    if status.aborted or not running:
        return status, "nothing to abort: no class is on its way"
    by = scene.view.request.by if scene.view.request is not None else ""
    for entry in running:
        cause = {"cause": ABORTED_BY_HAND, "message": f"{entry.device_class}: aborted by {by or 'request'}"}
        status = abort(scene.view, scene.fleet, status, entry.model_copy(update=cause), scene.now)
    return status.model_copy(update={"aborted": True, "pause_reason": ""}), "aborted"


def _retry(scene: Scene, status: ModelRolloutStatus) -> Answer:
    if status.aborted or status.pause_reason == "Failure" or any(c.state == "Aborted" for c in status.classes):
        return try_again(scene, status), "started anew"
    if status.pause_reason == "Inconclusive" and status.current_step_index is not None:
        again = enter(scene, status, status.current_step_index)
        return again.model_copy(update={"analysis": None}), "the analysis starts anew"
    return (
        status,
        "nothing to retry: the rollout is neither aborted nor paused by a failure or an inconclusive analysis",
    )


_VERBS: Mapping[str, Callable[[Scene, ModelRolloutStatus], Answer]] = {
    "promote": _promote,
    "abort": _abort,
    "retry": _retry,
}
