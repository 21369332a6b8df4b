"""What the shim saw: operations in the order in which they took effect, and the points where a process can be killed."""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the log. `path` is relative to the folder under trace."""

    name: str
    """open, write, fsync, truncate, rename, remove, mkdir; killed where the process ended."""
    path: str
    other: str = ""
    """How an open went, where a rename came from (absolute), what a killed process was about to do."""
    offset: int = 0
    """Of a write; the new size for truncate."""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Point:
    """Where to kill: at the `nth` operation of this name on this path, after `keep` bytes of a write or (-1) before it."""

    name: str
    path: str
    nth: int
    keep: int = -1

    def __str__(self) -> str:
        torn = f" after {self.keep} bytes" if self.keep >= 0 else ""
        return f"{self.name} {self.path} #{self.nth}{torn}"


def read(log: Path, folder: Path) -> list[Operation]:
    """The log of a process under trace; empty when it did nothing."""
    return list(_parse(log.read_bytes(), f"{folder}/")) if log.exists() else []


def _parse(data: bytes, root: str) -> Iterator[Operation]:
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        name, offset, size, path, other = data[at:end].decode().split("\t")
        at = end + 1 + int(size)
        yield Operation(name, path.removeprefix(root), other.removeprefix(root), int(offset), data[end + 1 : at])


def points(operations: Sequence[Operation], *, most: int) -> list[Point]:
    """Every operation as a point, writes also torn in the middle; at most the first `most` of one name on one path."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    found = []
    for operation in operations:
        key = operation.name, operation.path
        counts[key] += 1
        if operation.name == "killed" or counts[key] > most:
            continue
        found.append(Point(*key, counts[key]))
        if operation.name == "write" and len(operation.data) > 1:
            found.append(Point(*key, counts[key], len(operation.data) // 2))
    return found
