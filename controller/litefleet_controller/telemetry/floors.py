"""Up to where a boot of a board is durable without a gap: what may be acknowledged. Pure.

An ack lets a board forget everything up to a sequence, so it must not jump over a window that is still on its way. But
a window may never come: the board's outbox was full and let it go. A board sends what isn't acknowledged again, oldest
first; so when something above a gap comes a second time and the gap has stood for a while, the gap is given up.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Boot = tuple[str, str]
"""(device, boot id)."""

PATIENCE_S = 120.0
"""Longer than a board waits before it sends again."""
_MAX_AHEAD = 4_096
_MAX_BOOTS = 200_000


@dataclass(frozen=True, slots=True)
class Floor:
    """`sequence`: everything up to it is durable, -1 for nothing. `ahead`: durable beyond a gap."""

    sequence: int = -1
    ahead: frozenset[int] = frozenset()
    gap_since: float | None = None


def advance(floor: Floor, stored: Iterable[int], now: float, patience_s: float = PATIENCE_S) -> Floor:
    """After `stored` became durable (again, perhaps). Sequences start at 0 or 1."""
    fresh = set(stored)
    ahead = {s for s in floor.ahead | fresh if s > floor.sequence}
    sequence = floor.sequence
    if sequence == -1 and 1 in ahead and 0 not in ahead:
        sequence = 0
    sequence = _climb(sequence, ahead)
    if not ahead:
        return Floor(sequence)
    since = now if floor.gap_since is None or sequence > floor.sequence else floor.gap_since
    if len(ahead) > _MAX_AHEAD or (now - since >= patience_s and fresh & floor.ahead):
        sequence = _climb(min(ahead) - 1, ahead)
        since = now
    return Floor(sequence, frozenset(ahead), since if ahead else None)


def _climb(sequence: int, ahead: set[int]) -> int:
    while sequence + 1 in ahead:
        sequence += 1
        ahead.discard(sequence)
    return sequence


class Floors:
    """The floors of the boots heard of lately; what was pushed out is read from the database again."""

    def __init__(self) -> None:
        self._known: OrderedDict[Boot, Floor] = OrderedDict()

    def unknown(self, boots: Iterable[Boot]) -> list[Boot]:
        """Those of `boots` that must be read first."""
        return [b for b in boots if b not in self._known]

    def learn(self, boot: Boot, sequence: int) -> None:
        """What the database says."""
        self._known[boot] = Floor(sequence)

    def after(self, stored: Mapping[Boot, Iterable[int]], now: float) -> dict[Boot, Floor]:
        """The floors once `stored` is durable. Changes nothing yet."""
        return {boot: advance(self._known.get(boot, Floor()), seqs, now) for boot, seqs in stored.items()}

    def commit(self, floors: Mapping[Boot, Floor]) -> None:
        """`after` came true."""
        for boot, floor in floors.items():
            self._known[boot] = floor
            self._known.move_to_end(boot)
        while len(self._known) > _MAX_BOOTS:
            self._known.popitem(last=False)
