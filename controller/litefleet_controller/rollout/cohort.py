"""Which boards are in, at which weight: a stable order in each class, and how far into it a step reaches.

The order is a hash of the rollout and the board, so that it favours no site and never changes. A board that was
commanded stays in; among the others those online go first, so that a step never waits for an absent board while a
present one could take its place. Budgets are not this module's business.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from litefleet_controller.resources.rollout import ClassCounts, RolloutClass, Step
from litefleet_controller.rollout.standing import Standing, is_overdue, says_failed, standing
from litefleet_controller.rollout.view import Board, RolloutView

EVERYONE = 100
CLOCK_GRAIN = timedelta(seconds=1)
"""A command given with the start itself may be stamped a little coarser than it."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The selected boards, class by class in cohort order; those that an older rollout claims stand apart."""

    by_class: Mapping[str, tuple[Board, ...]]
    contested: tuple[Board, ...]


def muster(view: RolloutView) -> Fleet:
    """Sort the boards of `view` into classes and order them."""
    grouped: dict[str, list[Board]] = {}
    for board in view.boards:
        if not board.conflict:
            grouped.setdefault(board.device_class, []).append(board)
    return Fleet(
        {c: tuple(sorted(grouped[c], key=lambda b: cohort_key(view.uid, b.name))) for c in sorted(grouped)},
        tuple(sorted((b for b in view.boards if b.conflict), key=lambda b: b.name)),
    )


def cohort_key(uid: str, board: str) -> bytes:
    """A board's place in a rollout's order."""
    return hashlib.sha256(f"{uid}/{board}".encode()).digest()


def weight_at(steps: Sequence[Step], index: int | None) -> int:
    """Percent of each class that the step at `index` allows; past the last step everyone."""
    if index is None:
        return 0
    if index >= len(steps):
        return EVERYONE
    return next((s.set_weight for s in reversed(steps[: index + 1]) if s.set_weight is not None), 0)


def quota(weight: int, total: int) -> int:
    """Boards that `weight` percent of `total` are: rounded up, so at least one unless the weight is 0."""
    return -(-weight * total // 100)


@dataclass(frozen=True, slots=True)
class Front:
    """How far one class has come towards the target. Tuples are in cohort order."""

    device_class: str
    boards: tuple[Board, ...]
    quota: int
    updated: tuple[Board, ...]
    progressing: tuple[Board, ...]
    failed: tuple[Board, ...]
    timed_out: tuple[Board, ...]
    leftover: tuple[Board, ...]
    """Failed in an earlier try: they go back first, then get their chance again."""
    returning: tuple[Board, ...]
    """Present boards that hold a place in the quota until they can be commanded again."""
    candidates: tuple[Board, ...]
    """Those that may be commanded, in the order in which they are."""

    @property
    def commanded(self) -> int:
        """Boards that are commanded to the target."""
        return len(self.updated) + len(self.progressing) + len(self.failed) + len(self.timed_out)

    @property
    def missing(self) -> tuple[Board, ...]:
        """Those that are to be commanded to fill the quota."""
        return self.candidates[: max(0, self.quota - self.commanded - len(self.returning))]

    @property
    def open(self) -> int:
        """Boards of the quota that aren't terminal: commanded or yet to be."""
        return len(self.progressing) + len(self.returning) + len(self.missing)

    def counts(self) -> ClassCounts:
        """As the status shows them."""
        return ClassCounts(
            total=len(self.boards),
            target=self.commanded + len(self.leftover),
            updated=len(self.updated),
            progressing=len(self.progressing),
            failed=len(self.failed) + len(self.leftover),
            timed_out=len(self.timed_out),
            offline=sum(1 for b in self.boards if not b.online),
        )


def survey(
    view: RolloutView,
    entry: RolloutClass,
    boards: tuple[Board, ...],
    weight: int,
    started_at: datetime | None,
    now: datetime,
) -> Front:
    """Where the class of `entry` stands. A class whose stable version is the target has nothing to prove: everyone."""
    ready = view.versions.get((view.target, entry.device_class))
    artifact = ready.artifact if ready is not None and ready.state == "Ready" else ""
    timeout_s = view.spec.device_timeout_seconds
    by: dict[Standing, list[Board]] = {s: [] for s in Standing}
    leftover: list[Board] = []
    for board in boards:
        stands = standing(board, view.target, artifact, now, timeout_s)
        if stands is Standing.FAILED and _is_leftover(view, entry, board, started_at):
            leftover.append(board)
        else:
            by[stands].append(board)
    stale = [b for b in by[Standing.APART] if says_failed(b, artifact)]
    held = [b for b in leftover if b.online] + [b for b in stale if b.online and not is_overdue(b, now, timeout_s)]
    free = [b for b in by[Standing.APART] if not says_failed(b, artifact)]
    return Front(
        device_class=entry.device_class,
        boards=boards,
        quota=quota(EVERYONE if entry.stable == view.target else weight, len(boards)),
        updated=tuple(by[Standing.UPDATED]),
        progressing=tuple(by[Standing.PROGRESSING]),
        failed=tuple(by[Standing.FAILED]),
        timed_out=tuple(by[Standing.TIMED_OUT]),
        leftover=tuple(leftover),
        returning=tuple(held),
        candidates=tuple(_online_first(free)) if artifact else (),
    )


def _is_leftover(view: RolloutView, entry: RolloutClass, board: Board, started_at: datetime | None) -> bool:
    if started_at is None or board.assigned_at is None or board.assigned_by != view.name or entry.stable == view.target:
        return False
    way_back = not entry.stable or stable_artifact(view, entry)
    return bool(way_back) and board.assigned_at < started_at - CLOCK_GRAIN


def stable_artifact(view: RolloutView, entry: RolloutClass) -> str:
    """The artifact of the version that the class goes back to, empty when there is none."""
    version = view.versions.get((entry.stable, entry.device_class)) if entry.stable else None
    return version.artifact if version is not None else ""


def _online_first(boards: Iterable[Board]) -> list[Board]:
    return sorted(boards, key=lambda b: not b.online)
