"""How many boards may be in mid-update at once, over all classes, and who gets the free places.

A place is taken from the command until the board is terminal, timed out included: an absent board gives it back
after deviceTimeoutSeconds. Going back takes places like going forward, and comes first. A board that is already in
mid-update has its place, so turning it round is free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from litefleet_controller.resources.quantities import percent_of
from litefleet_controller.rollout.cohort import Fleet
from litefleet_controller.rollout.standing import Standing, assigned_standing
from litefleet_controller.rollout.view import Board, Command, RolloutView


@dataclass(frozen=True, slots=True)
class Wish:
    """A command that someone would like to give: `back` for the way back, `rank` its place within its class."""

    board: Board
    command: Command
    back: bool
    rank: int


def limit(view: RolloutView, fleet: Fleet) -> int:
    """Boards that `maxUnavailable` allows in mid-update."""
    return percent_of(view.spec.strategy.canary.max_unavailable, sum(len(b) for b in fleet.by_class.values()))


def in_flight(view: RolloutView, fleet: Fleet, now: datetime) -> frozenset[str]:
    """Names of the boards that this rollout has in mid-update."""
    return frozenset(
        b.name
        for boards in fleet.by_class.values()
        for b in boards
        if b.assigned_by == view.name
        and assigned_standing(b, now, view.spec.device_timeout_seconds) is Standing.PROGRESSING
    )


def grant(wishes: Sequence[Wish], *, limit: int, busy: frozenset[str]) -> list[Command]:
    """The commands that fit: present boards first, then the way back, then class by class in turn."""
    free = limit - len(busy)
    granted: list[Command] = []
    for wish in sorted(wishes, key=lambda w: (not w.board.online, not w.back, w.rank, w.board.device_class)):
        costs = bool(wish.command.artifact) and wish.board.name not in busy
        if costs and free <= 0:
            continue
        free -= costs
        granted.append(wish.command)
    return granted
