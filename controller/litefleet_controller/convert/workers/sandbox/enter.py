"""Closing a worker in, at its start: what can be had of the kernel is taken, and what can't be is said.

Called by worker.py before any thread runs and anything is imported that isn't ours. Where a measure isn't to be had
(an old kernel, a container that forbids namespaces) the others hold, and `Containment` says which: the controller logs
it, and every variant's provenance has it.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Literal

from msgspec import Struct

from litefleet_controller.convert.workers.sandbox import landlock, namespaces, seccomp, syscalls
from litefleet_controller.convert.workers.sandbox.screen import Private, screen

NICENESS = 10
"""Serving the fleet goes before making models for it."""


class Containment(Struct, frozen=True, kw_only=True, tag="contained"):
    """What holds a worker."""

    network: Literal["namespace", "filter", "none"] = "none"
    """`namespace`: there is none to be reached; `filter`: sockets are refused."""
    calls: bool = False
    """System calls are filtered."""
    writes: bool = False
    """Only the scratch folder can be written to."""
    privileges: bool = False
    """It has no capabilities and gets none."""
    secrets: bool | None = None
    """The controller's folder with its keys and its database can't be read; None where there was none to hide."""
    memory: bool = False
    """The controller's own memory and environment can't be read."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What this machine doesn't give, in words."""
        found = {
            "no way to the network": self.network != "none",
            "no way into other processes": self.calls and self.memory,
            "no writing outside its scratch folder": self.writes,
            "no reading of the controller's keys and database": self.secrets is not False,
            "no privileges": self.privileges,
        }
        return tuple(words for words, holds in found.items() if not holds)


def enter(scratch: Path, private: Private | None = None) -> Containment:
    """Give up for good what converting needs none of. The process must have one thread only.

    Its working directory is `scratch`. `private`: what is hidden from it.
    """
    os.nice(NICENESS)
    if sys.platform != "linux":
        return Containment()
    syscalls.adopt_orphans()
    left = namespaces.leave()
    is_hidden = None if private is None else left != "" and screen(private, scratch)
    has_none = _without_capabilities()
    # After the ids and capabilities have changed: that takes the signal back.
    syscalls.die_with_parent(signal.SIGKILL)
    syscalls.gain_no_privileges()
    writes = landlock.confine((scratch, Path("/dev/null")))
    calls = seccomp.install()
    return Containment(
        network="namespace" if left else "filter" if calls else "none",
        calls=calls,
        writes=writes,
        privileges=has_none,
        secrets=is_hidden,
        memory=left == "user" or writes,
    )


def _without_capabilities() -> bool:
    try:
        syscalls.drop_capabilities()
    except OSError:
        return False
    return True
