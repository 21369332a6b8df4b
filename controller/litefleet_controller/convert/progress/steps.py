"""A conversion's steps as they ran: when, how long, and how long each of their stages took.

For provenance, and for what is foretold of later ones. stopwatch.py measures them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from litefleet_controller.convert.workers.sandbox.enter import Containment

StepName = Literal["decode", "freeze", "prune", "calibrate", "make", "accelerate", "check"]
Now = Callable[[], datetime]


class Step(Struct, frozen=True, kw_only=True):
    """One task of a worker's, done."""

    name: StepName
    started: datetime
    """By the controller's wall clock, UTC."""
    seconds: float
    """By a clock that isn't set."""
    stages: dict[str, float]
    """Stage to its seconds; what came before the first is `starting`."""
    containment: Containment | None = None
    """What held the worker."""

    @property
    def finished(self) -> datetime:
        """UTC."""
        return self.started + timedelta(seconds=self.seconds)
