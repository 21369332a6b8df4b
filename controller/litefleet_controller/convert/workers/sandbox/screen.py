"""A folder of the controller's that a worker sees nothing of but what is shown: keys, database and tokens lie there.

In a mount namespace of the worker's own: an empty file system over the folder, and on it again what is shown. Nobody
else sees a difference.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.convert.workers.sandbox import syscalls

_READ_ONLY, _NO_SET_UID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18


@dataclass(frozen=True, slots=True)
class Private:
    """What workers are kept out of."""

    folder: Path
    shown: tuple[Path, ...]
    """Folders in it that they may read."""


def screen(private: Private, scratch: Path) -> bool:
    """Hide the folder, but for what is shown and the scratch folder, which is the working directory; whether that held.

    The process has left its mount namespace and may mount.
    """
    folder = private.folder.resolve()
    kept = [place.resolve() for place in (*private.shown, scratch)]
    try:
        syscalls.mount("none", "/", "", _RECURSIVE | _PRIVATE)
        # Held open, since their paths lead nowhere once the folder is covered.
        held = [os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for place in kept]
        _cover(folder, [place for place in kept if place.is_relative_to(folder)])
        _show(folder, list(zip(kept, held, strict=True)))
        for handle in held:
            os.close(handle)
        os.chdir(kept[-1])
    except OSError:
        return False
    return True


def _cover(folder: Path, places: Sequence[Path]) -> None:
    syscalls.mount("none", str(folder), "tmpfs", _NO_SET_UID | _NO_DEVICES, "size=1m,mode=0755")
    for place in places:
        place.mkdir(parents=True, exist_ok=True)


def _show(folder: Path, places: Sequence[tuple[Path, int]]) -> None:
    for place, handle in places:
        if place.is_relative_to(folder):
            syscalls.mount(f"/proc/self/fd/{handle}", str(place), "", _BIND | _RECURSIVE)
    syscalls.mount("none", str(folder), "", _REMOUNT | _READ_ONLY | _NO_SET_UID | _NO_DEVICES, "size=1m,mode=0755")
