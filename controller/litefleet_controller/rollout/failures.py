"""What happens to a class whose boards or analysis fail: `onFailure` decides between going back and a pause."""

from collections import Counter
from collections.abc import Sequence

from litefleet_controller.resources.rollout import ModelRolloutStatus, RolloutClass
from litefleet_controller.rollout.classes import abort, progressing, replaced
from litefleet_controller.rollout.cohort import Front
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.view import Board


def check_thresholds(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Stop each class that can't reach `successThreshold` any more at its present weight."""
    if status.current_step_index is None:
        return status
    for entry in progressing(status, scene.fleet):
        front = scene.front(status, entry)
        if len(front.failed) > entry.accepted_failures and is_lost(front, scene.view.spec.success_threshold):
            status = fail(scene, status, entry, commonest_code(front.failed), _sentence(scene, entry, front))
    return status


def is_lost(front: Front, threshold: float) -> bool:
    """Whether the share of updated boards stays under `threshold` percent even if all open ones succeed.

    Timed-out boards count on neither side until they come back.
    """
    good, bad = len(front.updated) + front.open, len(front.failed)
    return bad > 0 and 100 * good < threshold * (good + bad)


def fail(scene: Scene, status: ModelRolloutStatus, entry: RolloutClass, cause: str, message: str) -> ModelRolloutStatus:
    """The class has failed for `cause`: it goes back, or the rollout pauses, as the spec says."""
    entry = entry.model_copy(update={"cause": cause, "message": message})
    if scene.view.spec.on_failure == "Rollback":
        return abort(scene.view, scene.fleet, status, entry, scene.now)
    return replaced(status, entry).model_copy(update={"pause_reason": "Failure"})


def lost(scene: Scene, entry: RolloutClass, front: Front) -> RolloutClass:
    """The class with the cause of its end: every board of it failed."""
    message = _sentence(scene, entry, front)
    return entry.model_copy(update={"cause": commonest_code(front.failed), "message": message})


def commonest_code(failed: Sequence[Board]) -> str:
    """The code that most boards report; of equally common ones the first by name."""
    counted = Counter(b.code or "Failed" for b in failed)
    return min(counted, key=lambda code: (-counted[code], code))


def _sentence(scene: Scene, entry: RolloutClass, front: Front) -> str:
    code = commonest_code(front.failed)
    first = min((b for b in front.failed if (b.code or "Failed") == code), key=lambda b: b.name)
    said = f": {first.message}" if first.message else ""
    return (
        f"{entry.device_class}: {len(front.failed)} of {front.commanded} commanded boards failed"
        f" ({code} on {first.name}{said}); {scene.view.spec.success_threshold:g}% must succeed"
    )
