"""What is said of a request under way: stage, percent and expected end, over all the recipes that it goes through."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from litefleet_controller.convert.interface import Progress, RecipeName
from litefleet_controller.convert.progress.eta import Course, Kind, seconds_left, whole_request
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.progress.steps import Now
from litefleet_controller.convert.workers.tasks import Stage

_QUEUED = "queued"


class Report:
    """Progress over a whole ladder: percents never go back, though every rung begins anew.

    Where all rungs are made, each is one of `shares` of the whole.
    """

    def __init__(
        self,
        progress: Callable[[Progress], None],
        kinds: Sequence[Kind],
        known: Sequence[Course],
        now: Now,
        *,
        all_of_them: bool,
    ) -> None:
        """`kinds`: of the ladder's rungs, in their order. `known`: what earlier rungs took."""
        self._progress = progress
        self._kinds = {kind.recipe: kind for kind in kinds}
        self._order = [kind.recipe for kind in kinds] if all_of_them else []
        self._known = known
        self._now = now
        self._shares = max(1, len(self._order))
        self._ended = 0
        self._reached = 0

    def end_share(self) -> None:
        """A rung is done that isn't the last."""
        self._ended = min(self._ended + 1, self._shares - 1)

    def rung(self, recipe: RecipeName) -> "RungReport":
        """For one rung; it is a Listener."""
        return RungReport(self, self._kinds[recipe])

    def listener(self, recipe: RecipeName) -> Listener:
        """For what follows a rung and isn't timed."""
        return lambda stage: self.say(stage, recipe, None)

    def say(self, stage: Stage, recipe: RecipeName, ends: datetime | None) -> None:
        """Pass on a stage of a rung."""
        percent = (100 * self._ended + stage.percent) // self._shares
        self._reached = max(self._reached, percent)
        self._progress(Progress(stage.stage, self._reached, recipe, ends))

    def expected_end(self, recipe: RecipeName, passed: Sequence[str]) -> datetime | None:
        """When the request is thought to be done, by a rung that has just entered the last stage of `passed`."""
        left = seconds_left(self._known, self._kinds[recipe], passed)
        others = self._order[self._order.index(recipe) + 1 :] if recipe in self._order else []
        whole = whole_request(left, [seconds_left(self._known, self._kinds[other], ()) for other in others])
        return None if whole is None else self._now() + timedelta(seconds=round(whole))


class RungReport:
    """One rung's stages, timed."""

    def __init__(self, report: Report, kind: Kind) -> None:
        self._report = report
        self._kind = kind
        self._stages: list[tuple[str, float]] = []
        self._entered = time.monotonic()
        self._ends: datetime | None = None

    def __call__(self, stage: Stage) -> None:
        """A stage is entered, or goes on. What waits for a worker is no stage: how long that takes, others decide."""
        if stage.stage != _QUEUED and (not self._stages or self._stages[-1][0] != stage.stage):
            self._leave()
            self._stages.append((stage.stage, 0.0))
            self._ends = self._report.expected_end(self._kind.recipe, [name for name, _ in self._stages])
        self._report.say(stage, self._kind.recipe, self._ends)

    def course(self) -> Course:
        """What it came to, once it is done."""
        self._leave()
        return Course(self._kind, tuple(self._stages))

    def _leave(self) -> None:
        now = time.monotonic()
        if self._stages:
            name, _ = self._stages[-1]
            self._stages[-1] = (name, round(now - self._entered, 3))
        self._entered = now
