"""What the interpreters on boards know, release by release: runtimes.yaml, as questions. Pure; read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from litefleet_controller.resources.release import Release, parse_release


class _Defect(Struct, frozen=True, forbid_unknown_fields=True):
    trait: str
    since: str
    until: str
    says: str


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    releases: list[str]
    defects: list[_Defect]
    operators: dict[str, int | dict[str, int]]
    custom: dict[str, int | dict[str, int]]


@dataclass(frozen=True, slots=True)
class Defect:
    """What releases from `since` on, and before `until`, get wrong."""

    trait: str
    since: Release
    until: Release
    says: str


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The interpreter's releases that are known."""

    releases: tuple[Release, ...]
    """The oldest first."""
    operators: Mapping[str, tuple[tuple[Release, int], ...]]
    """Operator to the releases that raised its highest version, the oldest first."""
    defects: tuple[Defect, ...]
    custom: frozenset[str]
    """Of `operators`, those that the schema doesn't have: they stand in a file by name."""

    @property
    def oldest(self) -> Release:
        """Of older ones nothing is known."""
        return self.releases[0]

    def highest(self, operator: str, release: Release) -> int:
        """The highest version of an operator that `release` has; 0 when it doesn't have it at all."""
        return max((version for since, version in self.operators.get(operator, ()) if since <= release), default=0)

    def first_with(self, operator: str, version: int) -> Release | None:
        """The first release with this version of an operator; None when no known one has it."""
        return next((since for since, highest in self.operators.get(operator, ()) if highest >= version), None)

    def defects_of(self, release: Release) -> tuple[Defect, ...]:
        """What `release` gets wrong."""
        return tuple(d for d in self.defects if d.since <= release < d.until)


@cache
def litert() -> Runtimes:
    """LiteRT's, as the file has them."""
    written = msgspec.yaml.decode((files(__package__) / "runtimes.yaml").read_bytes(), type=_Written)
    oldest = written.releases[0]
    return Runtimes(
        releases=tuple(map(_release, written.releases)),
        operators={
            name: tuple((_release(r), v) for r, v in (told if isinstance(told, dict) else {oldest: told}).items())
            for name, told in (written.operators | written.custom).items()
        },
        defects=tuple(Defect(d.trait, _release(d.since), _release(d.until), d.says) for d in written.defects),
        custom=frozenset(written.custom),
    )


def _release(text: str) -> Release:
    release = parse_release("litert", text)
    if release is None:
        raise ValueError(f"runtimes.yaml: {text!r} is no release")
    return release
