"""Measuring a step while it runs. A workbench's turn does."""

import time
from collections.abc import Callable

from litefleet_controller.convert.progress.steps import Now, Step, StepName
from litefleet_controller.convert.workers.sandbox.enter import Containment
from litefleet_controller.convert.workers.tasks import Stage


class Stopwatch:
    """Listens to a task's stages and passes them on."""

    def __init__(self, name: StepName, listener: Callable[[Stage], None], now: Now) -> None:
        self._name = name
        self._listener = listener
        self._started = now()
        self._begun = self._entered = time.monotonic()
        self._stage = "starting"
        self._stages: dict[str, float] = {}

    def __call__(self, stage: Stage) -> None:
        """A stage is entered, or goes on."""
        if stage.stage != self._stage:
            self._leave()
            self._stage = stage.stage
        self._listener(stage)

    def step(self, containment: Containment | None) -> Step:
        """What the task came to, once it is done."""
        self._leave()
        return Step(
            name=self._name,
            started=self._started,
            seconds=round(time.monotonic() - self._begun, 3),
            stages={stage: round(seconds, 3) for stage, seconds in self._stages.items()},
            containment=containment,
        )

    def _leave(self) -> None:
        now = time.monotonic()
        self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._entered
        self._entered = now
