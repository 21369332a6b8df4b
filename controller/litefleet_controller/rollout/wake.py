"""When time alone would change the decision: a pause's end, a board's timeout, the next look."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from litefleet_controller.resources.rollout import ModelRolloutStatus
from litefleet_controller.rollout.budget import in_flight
from litefleet_controller.rollout.evaluation import inquiries
from litefleet_controller.rollout.phase import has_ended
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.steps import current, pause_end

AGAIN_S = 0.05
"""After a transition or a command: what comes next may be due already, or hang on when the command was committed."""
RETRY_S = 1.0
"""For a look that is due and found no evidence."""


def requeue_after(scene: Scene, status: ModelRolloutStatus) -> float | None:
    """Seconds until the next decision may differ with nothing else changed, None for never."""
    if has_started_something(scene.view.status, status):
        return AGAIN_S
    return min(((at - scene.now).total_seconds() for at in _moments(scene, status) if at > scene.now), default=None)


def has_started_something(before: ModelRolloutStatus, after: ModelRolloutStatus) -> bool:
    """Whether this decision opened something that the next one may go on with at once."""
    return (
        (before.current_step_index, before.step_started_at, before.started_at, before.aborted)
        != (after.current_step_index, after.step_started_at, after.started_at, after.aborted)
        or [(c.device_class, c.state) for c in before.classes] != [(c.device_class, c.state) for c in after.classes]
        or _outcome(before) != _outcome(after)
        or before.last_request != after.last_request
    )


def _outcome(status: ModelRolloutStatus) -> object:
    found = status.analysis, status.background_analysis
    return [None if a is None else (a.started_at, a.phase) for a in found]


def _moments(scene: Scene, status: ModelRolloutStatus) -> Iterator[datetime]:
    timeout = timedelta(seconds=scene.view.spec.device_timeout_seconds)
    busy = in_flight(scene.view, scene.fleet, scene.now)
    for boards in scene.fleet.by_class.values():
        yield from (b.assigned_at + timeout for b in boards if b.name in busy and b.assigned_at is not None)
    if has_ended(scene, status):
        return
    step = current(scene, status)
    end = pause_end(status, step) if step is not None else None
    if end is not None:
        yield end
    for running in inquiries(scene, status):
        for template, _, run in running.running():
            yield max(running.next_look(template, run), scene.now + timedelta(seconds=RETRY_S))
