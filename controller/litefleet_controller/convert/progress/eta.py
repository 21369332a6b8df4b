"""How long a conversion still takes, foretold from how long such conversions took before. Pure but for Courses.

A course is one recipe's way through its stages, as the controller saw it. Only courses of the same recipe and source
format, of about the same size, that went through the same stages count; without one nobody knows, and nothing is said.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.durable import write_file
from litefleet_controller.convert.interface import RecipeName, SourceFormat

_KEPT = 200
_COMPARED = 5
"""The newest so many: a machine, or what else it does, may have changed."""
_SIZE_FACTOR = 4.0


class Kind(Struct, frozen=True):
    """What makes courses comparable."""

    recipe: RecipeName
    source_format: SourceFormat
    size: int
    """Bytes of the source and the evaluation set."""


class Course(Struct, frozen=True):
    """One that came to its end."""

    kind: Kind
    stages: tuple[tuple[str, float], ...]
    """Stage and seconds, in their order."""


def seconds_left(known: Sequence[Course], kind: Kind, passed: Sequence[str]) -> float | None:
    """Until the end, for who has just entered the last of the stages `passed`; None when nobody knows.

    The median of what the newest courses alike took from there on. With no stage passed, all of it. What was remembered
    is left out of a course: when none went through the very same stages, those that went through more of them count.
    """
    alike = [(c, places) for c in known if _alike(c.kind, kind) and (places := _places(c, passed)) is not None]
    same = [(c, places) for c, places in alike if places == list(range(len(passed)))]
    left = [
        sum(seconds for _, seconds in c.stages[places[-1] if places else 0 :])
        for c, places in (same or alike)[-_COMPARED:]
    ]
    return statistics.median(left) if left else None


def _places(course: Course, passed: Sequence[str]) -> list[int] | None:
    """Where a course has these stages, in this order; None when it hasn't."""
    found: list[int] = []
    for stage in passed:
        after = found[-1] + 1 if found else 0
        place = next((i for i in range(after, len(course.stages)) if course.stages[i][0] == stage), None)
        if place is None:
            return None
        found.append(place)
    return found


def whole_request(first: float | None, others: Sequence[float | None]) -> float | None:
    """The recipe under way and those that follow, unless one of them is unknown."""
    parts = [first, *others]
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None


def _alike(one: Kind, other: Kind) -> bool:
    small, large = sorted((max(1, one.size), max(1, other.size)))
    return (one.recipe, one.source_format) == (other.recipe, other.source_format) and large <= _SIZE_FACTOR * small


class Courses:
    """The newest courses, kept in one file. Losing it costs a few estimates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)

    @property
    def known(self) -> Sequence[Course]:
        """Oldest first."""
        return self._known

    def add(self, course: Course) -> None:
        """Remember a course. Blocking.

        Raises: StorageFullError, OSError.
        """
        self._known = [*self._known, course][-_KEPT:]
        write_file(self._path, msgspec.json.encode(self._known))


def _read(path: Path) -> list[Course]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Course])
    except (FileNotFoundError, msgspec.MsgspecError):
        return []
