"""Events, read off the difference between the stored status and the new one: an unchanged status makes none."""

from litefleet_controller.resources.rollout import ModelRolloutStatus, RolloutClass
from litefleet_controller.rollout.view import Notice


def notices(before: ModelRolloutStatus, after: ModelRolloutStatus, steps: int) -> list[Notice]:
    """In the order in which they make sense to read."""
    return [
        *_start(before, after),
        *_verb(before, after),
        *_step(before, after, steps),
        *_classes(before, after),
        *_phase(before, after),
    ]


def _start(before: ModelRolloutStatus, after: ModelRolloutStatus) -> list[Notice]:
    if before.started_at == after.started_at or not after.target_version:
        return []
    if before.target_version == after.target_version:
        return [Notice("Normal", "RolloutRestarted", f"{after.target_version} starts anew from the first step")]
    after_what = f" after {before.target_version}" if before.target_version else ""
    return [Notice("Normal", "RolloutStarted", f"{after.target_version} starts{after_what}")]


def _verb(before: ModelRolloutStatus, after: ModelRolloutStatus) -> list[Notice]:
    request = after.last_request
    if request is None or request == before.last_request:
        return []
    by = f" by {request.by}" if request.by else ""
    return [Notice("Normal", "Requested", f"{request.verb}{by}: {request.outcome}")]


def _step(before: ModelRolloutStatus, after: ModelRolloutStatus, steps: int) -> list[Notice]:
    index = after.current_step_index
    if index is None or index == before.current_step_index:
        return []
    if index >= steps:
        return [Notice("Normal", "StepsCompleted", f"{after.target_version} goes to everyone")]
    return [Notice("Normal", "StepStarted", f"step {index + 1} of {steps} of {after.target_version}")]


def _classes(before: ModelRolloutStatus, after: ModelRolloutStatus) -> list[Notice]:
    old = {c.device_class: c for c in before.classes}
    found = [_class(old.get(c.device_class), c) for c in after.classes]
    return [n for n in found if n is not None]


def _class(old: RolloutClass | None, new: RolloutClass) -> Notice | None:
    if old is not None and (old.state, old.target) == (new.state, new.target):
        return None
    match new.state:
        case "Complete":
            return Notice("Normal", "ClassCompleted", f"{new.device_class}: {new.target} is complete")
        case "Aborted":
            back = f"; back to {new.stable}" if new.stable else ""
            return Notice("Warning", new.cause or "Aborted", f"{new.message}{back}")
        case "Refused":
            return Notice("Warning", new.cause or "Refused", f"{new.device_class} refused {new.target}: {new.message}")
        case _:
            return None


def _phase(before: ModelRolloutStatus, after: ModelRolloutStatus) -> list[Notice]:
    if (before.phase, before.pause_reason) == (after.phase, after.pause_reason) or after.phase is None:
        return []
    match after.phase:
        case "Healthy":
            return [Notice("Normal", "Healthy", after.message)]
        case "Degraded":
            return [Notice("Warning", "Degraded", after.message)]
        case "Paused":
            warns = after.pause_reason in ("Failure", "Inconclusive")
            return [Notice("Warning" if warns else "Normal", f"Paused{after.pause_reason}", after.message)]
        case "Progressing":
            return [Notice("Normal", "Resumed", after.message)] if before.phase == "Paused" else []
