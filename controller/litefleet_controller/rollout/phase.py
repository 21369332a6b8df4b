"""The rollout's phase, and the conditions that say the same to `kubectl wait`.

The first row that holds:

| when                                                                  | phase       |
|-----------------------------------------------------------------------|-------------|
| there is no target, no board, or no board that isn't claimed          | Progressing |
| the rollout is aborted                                                | Degraded    |
| every class has come to its end, and one of them Refused or Aborted   | Degraded    |
| every class is Complete                                               | Healthy     |
| someone or something holds it (pauseReason)                           | Paused      |
| otherwise                                                             | Progressing |

A class that is Refused or Aborted while others go on shows in `status.classes`; the phase turns when the last is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from litefleet_controller.resources.meta import Condition, set_condition
from litefleet_controller.resources.rollout import ModelRolloutStatus
from litefleet_controller.rollout.classes import staged
from litefleet_controller.rollout.scene import STICKY, Scene
from litefleet_controller.rollout.steps import current, template_names

Phase = Literal["Healthy", "Progressing", "Paused", "Degraded"]
ENDED = ("Complete", "Refused", "Aborted")


def _states(scene: Scene, status: ModelRolloutStatus) -> set[str]:
    return {c.state for c in status.classes if c.device_class in scene.fleet.by_class}


def has_ended(scene: Scene, status: ModelRolloutStatus) -> bool:
    """Whether no class is on its way."""
    states = _states(scene, status)
    return status.aborted or (bool(states) and states <= set(ENDED))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table asks."""

    has_place: bool
    aborted: bool
    has_ended: bool
    all_complete: bool
    held: bool


TABLE: tuple[tuple[Callable[[Facts], bool], Phase], ...] = (
    (lambda facts: not facts.has_place, "Progressing"),
    (lambda facts: facts.aborted, "Degraded"),
    (lambda facts: facts.has_ended and not facts.all_complete, "Degraded"),
    (lambda facts: facts.has_ended, "Healthy"),
    (lambda facts: facts.held, "Paused"),
    (lambda _: True, "Progressing"),
)


def phase_of(scene: Scene, status: ModelRolloutStatus) -> Phase:
    """The table's first row that holds."""
    facts = Facts(
        has_place=bool(scene.view.target and scene.fleet.by_class),
        aborted=status.aborted,
        has_ended=has_ended(scene, status),
        all_complete=_states(scene, status) == {"Complete"},
        held=bool(status.pause_reason),
    )
    return next(phase for holds, phase in TABLE if holds(facts))


def pause_reason(scene: Scene, status: ModelRolloutStatus) -> str:
    """Failure and Inconclusive last until a person speaks; Spec and Step are read anew each time."""
    if has_ended(scene, status) or not scene.fleet.by_class:
        return status.pause_reason if status.pause_reason in STICKY and not has_ended(scene, status) else ""
    if status.pause_reason in STICKY:
        return status.pause_reason
    if scene.view.spec.paused:
        return "Spec"
    step = current(scene, status)
    return "Step" if step is not None and step.pause is not None and staged(status, scene.fleet) else ""


def conditions(scene: Scene, status: ModelRolloutStatus) -> list[Condition]:
    """All conditions of a rollout, with the phase and message that `status` already has."""
    found = list(status.conditions)
    for type_, holds, reason, message in _observations(scene, status):
        found = set_condition(found, type_, holds, reason, message, scene.now, scene.view.generation)
    return found


def _observations(scene: Scene, status: ModelRolloutStatus) -> list[tuple[str, bool, str, str]]:
    view, message = scene.view, status.message
    by_phase = [
        (name, True, _reason(status), message) if status.phase == name else (name, False, f"Is{status.phase}", "")
        for name in ("Progressing", "Healthy", "Paused", "Degraded")
    ]
    older = sorted({b.conflict for b in scene.fleet.contested})
    claimed = f"{len(scene.fleet.contested)} boards are claimed by {', '.join(older)}" if older else ""
    return [
        *by_phase,
        (
            "ModelAvailable",
            bool(view.target),
            "Found" if view.target else "NotFound",
            view.target or view.target_missing,
        ),
        _found("ClassesAvailable", "DeviceClass", sorted(view.missing_classes)),
        _found("TemplatesAvailable", "AnalysisTemplate", sorted(template_names(view.spec) - view.templates.keys())),
        ("Conflict", bool(older), "Claimed" if older else "None", claimed),
        ("NoDevices", not view.boards, "Found" if view.boards else "NoDevices", "" if view.boards else NO_BOARDS),
    ]


def _found(type_: str, kind: str, missing: Sequence[str]) -> tuple[str, bool, str, str]:
    """Whether everything of `kind` that the rollout hangs on exists."""
    if not missing:
        return type_, True, "Found", ""
    verb = "does" if len(missing) == 1 else "do"
    return type_, False, "NotFound", f"{kind} {', '.join(missing)} {verb} not exist; it goes on when created"


NO_BOARDS = "the selector matches no board; it goes on when one appears"


def _reason(status: ModelRolloutStatus) -> str:
    """A word for machines beside the sentence."""
    if status.phase == "Paused":
        return status.pause_reason
    if status.phase == "Degraded":
        return next((c.cause for c in status.classes if c.cause and c.state in ("Aborted", "Refused")), "Aborted")
    return "Complete" if status.phase == "Healthy" else "Working"
