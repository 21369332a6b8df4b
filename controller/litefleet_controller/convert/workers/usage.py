"""What a worker uses, with all that it started: read by the controller, which believes nothing that a worker says."""

import os
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.convert.workers.limits import WorkerLimits

_MOST_LOOKED_AT = 20_000
"""Files or processes: whoever has more is over every limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment."""

    rss_bytes: int
    processes: int
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class Excess:
    """The first limit that doesn't hold."""

    code: str
    message: str


def measure(pid: int, scratch: Path) -> Usage:
    """Of a process, its descendants and its folder. What ends or goes meanwhile counts as nothing. Blocking."""
    processes = _tree(pid)
    return Usage(sum(map(rss_bytes, processes)), len(processes), _size(scratch))


def exceeded(usage: Usage, limits: WorkerLimits) -> Excess | None:
    """Which limit is passed, with both numbers."""
    for code, what, used, most in (
        ("MemoryLimit", "bytes of memory", usage.rss_bytes, limits.max_rss_bytes),
        ("ProcessLimit", "processes", usage.processes, limits.max_processes),
        ("DiskLimit", "bytes of disk", usage.scratch_bytes, limits.max_scratch_bytes),
    ):
        if used > most:
            return Excess(code, f"the conversion worker took {used} {what}; its limit is {most}")
    return None


def rss_bytes(pid: int) -> int:
    """Resident memory of one process now; 0 when it can't be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _tree(pid: int) -> list[int]:
    found: list[int] = []
    pending = [pid]
    while pending and len(found) < _MOST_LOOKED_AT:
        found.append(pending.pop())
        pending += _children(found[-1])
    return found


def _children(pid: int) -> list[int]:
    """Those of all of its threads."""
    try:
        return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]
    except OSError:
        return []


def _size(folder: Path) -> int:
    """Bytes that its files take on the disk, links not followed."""
    size = looked_at = 0
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > _MOST_LOOKED_AT:
                        return 2**63
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return size
