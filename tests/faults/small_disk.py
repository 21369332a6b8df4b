"""A small disk of its own for one process, and a filler for it: a tmpfs in a private mount namespace.

The folder's content is copied onto it first. Others see it only through /proc/PID/root. Needs root, or user namespaces.
"""

import os
from pathlib import Path
from types import TracebackType

_SCRIPT = """
set -e
cp -a "$1" "$1.before"
mount -t tmpfs -o size="$2" tmpfs "$1"
cp -a "$1.before/." "$1/"
shift 2
exec "$@"
"""


def on_small_disk(folder: Path, megabytes: float, command: list[str]) -> list[str]:
    """`command`, with `folder` on a disk of this size. The process that is started is the command's own."""
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    return [*apart, "sh", "-c", _SCRIPT, "sh", str(folder), f"{int(megabytes * 1024)}k", *command]


def seen_by(pid: int, path: Path) -> Path:
    """A path as a process sees it."""
    return Path(f"/proc/{pid}/root{path}")


def within(pid: int) -> list[str]:
    """Before a command line: it sees what the process sees."""
    spaces = ["--mount"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--mount"]
    return ["nsenter", f"--target={pid}", *spaces, "--"]


class Filler:
    """Takes up the room in `folder`, all but `leave_bytes`, while it is entered; `fill` takes up the rest, whenever asked."""

    def __init__(self, folder: Path, leave_bytes: int = 0) -> None:
        self._folder = folder
        self._file = folder / "filler"
        self._leave_bytes = leave_bytes

    def fill(self, leave_bytes: int = 0) -> None:
        with self._file.open("ab", buffering=0) as file:
            for size in (1 << 18, 4096):
                piece = bytes(size)
                try:
                    while self._free() >= leave_bytes + size and file.write(piece) == size:
                        pass
                except OSError:
                    continue

    def _free(self) -> int:
        room = os.statvfs(self._folder)
        return room.f_bavail * room.f_bsize

    def __enter__(self) -> "Filler":
        self.fill(self._leave_bytes)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.unlink()
