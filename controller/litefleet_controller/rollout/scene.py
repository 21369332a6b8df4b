"""One decision's surroundings: the view, its boards in order, and the time. Every rule gets it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from litefleet_controller.resources.rollout import ModelRolloutStatus, RolloutClass, Step
from litefleet_controller.rollout.cohort import EVERYONE, Fleet, Front, muster, survey, weight_at
from litefleet_controller.rollout.view import RolloutView

STICKY = ("Failure", "Inconclusive")
"""Reasons of a pause that last until a person speaks."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What does not change while one decision is made."""

    view: RolloutView
    fleet: Fleet
    now: datetime
    _surveyed: dict[Hashable, Front] = field(default_factory=dict, repr=False, compare=False)
    """Surveys made already: many rules ask for the same one, and a fleet is large."""

    @property
    def steps(self) -> Sequence[Step]:
        """As the spec has them now."""
        return self.view.spec.strategy.canary.steps

    def front(self, status: ModelRolloutStatus, entry: RolloutClass) -> Front:
        """Where the class of `entry` stands at the weight of the current step."""
        weight = EVERYONE if entry.state == "Complete" else weight_at(self.steps, status.current_step_index)
        key = (entry.device_class, entry.stable, weight, status.started_at)
        if key not in self._surveyed:
            boards = self.fleet.by_class.get(entry.device_class, ())
            self._surveyed[key] = survey(self.view, entry, boards, weight, status.started_at, self.now)
        return self._surveyed[key]

    def is_held(self, status: ModelRolloutStatus) -> bool:
        """Whether nothing new may be commanded. The way back is never held."""
        return self.view.spec.paused or status.pause_reason in STICKY


def set_scene(view: RolloutView, now: datetime) -> Scene:
    """The surroundings of the decision on `view` at `now`."""
    return Scene(view, muster(view), now)
