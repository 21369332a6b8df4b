"""Who holds a lease, named so that another process of the same machine can tell for certain that it is gone.

A controller that was killed can't give its lease up, and waiting for the lease's end means that nobody leads
meanwhile. What a name says of its process makes that needless on one machine: the kernel's boot, the namespace in which
the process id counts, the id, and when that process started (ids are given again). Anything that can't be told for
certain (another machine, another container, a name of another form) counts as alive, and the lease is waited for.

The composition root names itself with `holder_name`; leases.py asks `is_gone`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ENDED = ("Z", "X")
"""States in /proc/PID/stat of a process that only waits for its parent to notice."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine, for as long as the machine runs."""

    boot: str
    namespace: str
    """Where `pid` counts: processes in another container have ids of their own."""
    pid: int
    started: str
    """Clock ticks from the boot to its start."""


def holder_name(replica: str) -> str:
    """`replica`, and which process that is; `replica` alone where the kernel doesn't tell."""
    here = _this_process()
    return replica if here is None else f"{replica}@{here.boot}/{here.namespace}/{here.pid}/{here.started}"


def is_gone(holder: str) -> bool:
    """Whether the process that named itself so has certainly ended."""
    named, here = _process_in(holder), _this_process()
    if named is None or here is None or (named.boot, named.namespace) != (here.boot, here.namespace):
        return False
    try:
        os.kill(named.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # It is somebody else's, who may have got the id since.
    seen = _stat(named.pid)
    return seen is not None and (seen[1] != named.started or seen[0] in _ENDED)


def _process_in(holder: str) -> Process | None:
    _, _, place = holder.partition("@")
    match place.split("/"):
        case [boot, namespace, pid, started] if pid.isdecimal() and int(pid) > 0:
            return Process(boot, namespace, int(pid), started)
    return None


def _this_process() -> Process | None:
    seen = _stat(os.getpid())
    if seen is None:
        return None
    try:
        boot = _BOOT_ID.read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return None
    return Process(boot, namespace, os.getpid(), seen[1])


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start of a process; None when the kernel doesn't tell. See proc(5), fields 3 and 22."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name, in brackets, may hold anything.
    fields = text.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None
