"""What is foretold of a model on an accelerator, operator by operator. Said by a worker; imports msgspec only."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Place = Literal["accelerator", "cpu"]


class Fate(Struct, frozen=True, kw_only=True):
    """Where one operator would run."""

    name: str
    place: Place
    macs: int = 0
    """Multiply-accumulates for one inference."""
    code: str = ""
    """Why on the CPU: `Unsupported`, `DataType`, `OpenShape`, `Rank`, `Limit` or `AfterFallback`; stable."""
    reason: str = ""
    """The same in words."""
    doubt: str = ""
    """What makes it uncertain, for an operator that would run on the accelerator."""


class Prediction(Struct, frozen=True, kw_only=True):
    """The whole report: one entry an operator, in the order of the graph. Nothing of it was measured."""

    fates: tuple[Fate, ...]
    source: str
    """What it was foretold from."""

    @property
    def operator_share(self) -> float:
        """Share of the operators that would run on the accelerator."""
        return _share(sum(f.place == "accelerator" for f in self.fates), len(self.fates))

    @property
    def mac_share(self) -> float:
        """Share of the multiply-accumulates that would run there; of the operators, when none has any."""
        total = sum(f.macs for f in self.fates)
        if total == 0:
            return self.operator_share
        return _share(sum(f.macs for f in self.fates if f.place == "accelerator"), total)

    def fallbacks(self, most: int) -> list[tuple[str, int, str, str]]:
        """Operator, how often, code and reason of what would run on the CPU; at most `most`.

        Causes come before what only follows from them, and the frequent before the rare.
        """
        said = [(f.name, f.code, f.reason) for f in self.fates if f.place == "cpu"]
        return [(name, n, code, reason) for (name, code, reason), n in _ranked(said)][:most]

    def doubts(self, most: int) -> list[tuple[str, int, str]]:
        """Operator, how often, and what makes it uncertain; at most `most`."""
        said = [(f.name, "", f.doubt) for f in self.fates if f.doubt]
        return [(name, n, doubt) for (name, _, doubt), n in _ranked(said)][:most]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _ranked(said: Sequence[tuple[str, str, str]]) -> list[tuple[tuple[str, str, str], int]]:
    return sorted(Counter(said).items(), key=lambda item: (item[0][1] == "AfterFallback", -item[1], item[0]))
