"""What each class does with the target: wait for its conversion, take part, be done, or stay out of it.

A class stops alone. Its state hangs on what conversion says of it (`refresh`) and on what happens to its boards
(`abort`, `complete`); how far it may go is the steps' business.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from litefleet_controller.resources.rollout import ModelRolloutStatus, RolloutClass, RolloutRevision
from litefleet_controller.rollout.cohort import Fleet
from litefleet_controller.rollout.view import Board, RolloutView, VersionForClass

Outcome = Literal["Complete", "Aborted", "Refused", "Superseded"]
ABORTED_BY_HAND = "Aborted"
"""Cause of a class that a person aborted."""


def refresh(view: RolloutView, fleet: Fleet, status: ModelRolloutStatus, now: datetime) -> ModelRolloutStatus:
    """Classes follow the selected boards and the target's conversion. One without boards keeps its stable version."""
    known = {c.device_class: c for c in status.classes}
    contested = {b.device_class for b in fleet.contested}
    names = sorted(fleet.by_class.keys() | contested | {n for n, c in known.items() if c.stable})
    classes = [
        _follow(view, status, _known_or_new(known.get(n), n, fleet.by_class.get(n, ())), n in fleet.by_class)
        for n in names
    ]
    refused = [
        c
        for c in classes
        if c.state == "Refused" and (known.get(c.device_class) is None or known[c.device_class].state != "Refused")
    ]
    status = status.model_copy(update={"classes": classes})
    for entry in refused:
        status = record(view, status, entry, "Refused", now)
    return status


def _known_or_new(entry: RolloutClass | None, device_class: str, boards: Sequence[Board]) -> RolloutClass:
    """A class that never began (its boards were another rollout's until now, say) is looked at as a new one."""
    began = entry is not None and (entry.stable or entry.state != "Waiting")
    return entry if entry is not None and began else _newcomer(device_class, boards)


def _newcomer(device_class: str, boards: Sequence[Board]) -> RolloutClass:
    """A class new to this rollout goes back to the version that all its boards already serve, if there is one.

    When that is the target, there is nothing to prove and the steps don't concern the class.
    """
    served = {b.assigned_version if b.current_version == b.assigned_version else "" for b in boards}
    return RolloutClass(device_class=device_class, state="Waiting", stable=served.pop() if len(served) == 1 else "")


def _follow(view: RolloutView, status: ModelRolloutStatus, entry: RolloutClass, has_boards: bool) -> RolloutClass:
    entry = entry.model_copy(update={"target": view.target})
    if status.aborted and entry.state in ("Waiting", "Progressing"):
        return entry.model_copy(update={"state": "Waiting", "message": "the rollout is aborted"})
    if entry.state in ("Aborted", "Complete"):
        return entry
    if not has_boards:
        return entry.model_copy(update={"state": "Waiting", "message": "no free board of this class"})
    version = view.versions.get((view.target, entry.device_class), VersionForClass("Pending"))
    match version.state:
        case "Pending" | "Converting":
            message = version.message or _not_converted(view, entry.device_class)
            return entry.model_copy(update={"state": "Waiting", "message": message, "recipe": "", "cause": ""})
        case "Refused" | "Failed":
            message = version.message or "; ".join(version.refusals) or f"{view.target} has no variant for this class"
            return entry.model_copy(
                update={"state": "Refused", "cause": version.code or version.state, "message": message, "recipe": ""}
            )
        case "Ready":
            message = entry.message if entry.cause and entry.state == "Progressing" else variant_note(version)
            cause = entry.cause if entry.state == "Progressing" else ""
            return entry.model_copy(
                update={"state": "Progressing", "recipe": version.recipe, "message": message, "cause": cause}
            )


def _not_converted(view: RolloutView, device_class: str) -> str:
    if device_class in view.missing_classes:
        return f"DeviceClass {device_class!r} does not exist (NotFound); it goes on when it appears"
    return f"{view.target} is not converted for this class yet"


def variant_note(version: VersionForClass) -> str:
    """Says why the variant isn't of the class's first choice, empty when it is."""
    return f"{version.recipe}, because {'; '.join(version.refusals)}" if version.refusals else ""


def abort(
    view: RolloutView, fleet: Fleet, status: ModelRolloutStatus, entry: RolloutClass, now: datetime
) -> ModelRolloutStatus:
    """Stop one class, for its cause; its boards go back to stable. When no other is left, the rollout is aborted."""
    entry = entry.model_copy(update={"state": "Aborted"})
    status = record(view, replaced(status, entry), entry, "Aborted", now)
    over = all(c.state in ("Aborted", "Refused") for c in status.classes if c.device_class in fleet.by_class)
    return status.model_copy(update={"aborted": True, "pause_reason": ""}) if over else status


def complete(view: RolloutView, status: ModelRolloutStatus, entry: RolloutClass, now: datetime) -> ModelRolloutStatus:
    """The class has arrived: from now on the target is what it goes back to."""
    entry = entry.model_copy(update={"state": "Complete", "stable": view.target, "cause": ""})
    return record(view, replaced(status, entry), entry, "Complete", now)


def replaced(status: ModelRolloutStatus, entry: RolloutClass) -> ModelRolloutStatus:
    """`status` with one class changed."""
    return status.model_copy(
        update={"classes": [entry if c.device_class == entry.device_class else c for c in status.classes]}
    )


def progressing(status: ModelRolloutStatus, fleet: Fleet) -> list[RolloutClass]:
    """Classes that take part now."""
    return [c for c in status.classes if c.state == "Progressing" and c.device_class in fleet.by_class]


def staged(status: ModelRolloutStatus, fleet: Fleet) -> list[RolloutClass]:
    """Those of them that go through the steps. A class whose stable version is the target has nothing to prove."""
    return [c for c in progressing(status, fleet) if c.stable != status.target_version]


def waiting(status: ModelRolloutStatus, fleet: Fleet) -> list[RolloutClass]:
    """Classes whose conversion isn't decided."""
    return [c for c in status.classes if c.state == "Waiting" and c.device_class in fleet.by_class]


def record(
    view: RolloutView, status: ModelRolloutStatus, entry: RolloutClass, outcome: Outcome, now: datetime
) -> ModelRolloutStatus:
    """Add to the history, newest last, and keep `revisionHistoryLimit` versions of it."""
    revision = RolloutRevision(
        version=status.target_version,
        device_class=entry.device_class,
        outcome=outcome,
        cause=entry.cause,
        message=entry.message,
        finished_at=now,
    )
    history = [*status.history, revision]
    newest_first = list(dict.fromkeys(r.version for r in reversed(history)))
    kept = set(newest_first[: view.spec.revision_history_limit])
    return status.model_copy(update={"history": [r for r in history if r.version in kept]})
