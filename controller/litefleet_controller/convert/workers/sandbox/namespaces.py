"""A network of its own with nothing in it, and no power over anything outside.

A user namespace needs no privileges where the kernel permits it to everybody; it also bars the way to the controller's
memory and environment in /proc, which the same user could read otherwise. Where only root may make namespaces, the
network is left without one.
"""

import os
from pathlib import Path
from typing import Literal

from litefleet_controller.convert.workers.sandbox import syscalls

_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

Kind = Literal["user", "network", ""]


def leave() -> Kind:
    """Leave the network, and with it as much as the kernel lets this process; what it came to.

    The process must have one thread only.
    """
    user, group = os.getuid(), os.getgid()
    try:
        syscalls.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWNS)
    except OSError:
        return _leave_as_root()
    _map(user, group)
    return "user"


def _leave_as_root() -> Kind:
    try:
        syscalls.unshare(_CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWNS)
    except OSError:
        return ""
    return "network"


def _map(user: int, group: int) -> None:
    """The process's own ids stay what they were; without this it would look like nobody's to itself."""
    own = Path("/proc/self")
    try:
        (own / "setgroups").write_text("deny")
        (own / "uid_map").write_text(f"{user} {user} 1")
        (own / "gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return  # ids only look odd
