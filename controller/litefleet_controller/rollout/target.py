"""A new target, and a new try: both start the steps anew. Boards move on from where they are.

What was under way is recorded as Superseded for each class that hadn't come to an end with it. A class keeps its
stable version, so that the way back is always to the last version that completed.
"""

import hashlib

from litefleet_controller.resources.rollout import ModelRolloutSpec, ModelRolloutStatus
from litefleet_controller.rollout.classes import record
from litefleet_controller.rollout.phase import has_ended
from litefleet_controller.rollout.scene import Scene


def follow_target(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """Start anew when the target changed, or the spec of a rollout that ended with an aborted class did."""
    if status.target_version != scene.view.target:
        return _begin(
            scene, _supersede(scene, status), reset=("Waiting", "Progressing", "Complete", "Aborted", "Refused")
        )
    is_edited = status.attempted_spec not in ("", spec_digest(scene.view.spec))
    if is_edited and has_ended(scene, status) and any(c.state == "Aborted" for c in status.classes):
        return try_again(scene, status)
    return status


def spec_digest(spec: ModelRolloutSpec) -> str:
    """Of all that bears on whether a target may succeed. Pausing, or keeping more history, is no new try."""
    weighty = spec.model_dump_json(exclude={"paused", "revision_history_limit"})
    return hashlib.sha256(weighty.encode()).hexdigest()


def try_again(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    """The same target from the first step, for classes that aren't Complete. Failed boards get their chance again."""
    return _begin(scene, status, reset=("Waiting", "Progressing", "Aborted", "Refused"))


def _supersede(scene: Scene, status: ModelRolloutStatus) -> ModelRolloutStatus:
    for entry in status.classes if status.target_version else ():
        if entry.state in ("Waiting", "Progressing"):
            note = entry.model_copy(update={"message": f"superseded by {scene.view.target}"})
            status = record(scene.view, status, note, "Superseded", scene.now)
    return status


def _begin(scene: Scene, status: ModelRolloutStatus, *, reset: tuple[str, ...]) -> ModelRolloutStatus:
    fresh = {
        "state": "Waiting",
        "target": scene.view.target,
        "cause": "",
        "message": "",
        "recipe": "",
        "accepted_failures": 0,
    }
    return status.model_copy(
        update={
            "target_version": scene.view.target,
            "current_step_index": None,
            "step_started_at": None,
            "started_at": scene.now,
            "pause_reason": "",
            "aborted": False,
            "analysis": None,
            "background_analysis": None,
            "classes": [c.model_copy(update=fresh) if c.state in reset else c for c in status.classes],
        }
    )
