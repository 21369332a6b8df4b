"""The board under the doctor's eyes: where it lies, what its clocks say, and a disk that can't be written to."""

from dataclasses import dataclass, field
from pathlib import Path

from litefleet_agent import health
from litefleet_agent.fileio import Disk
from litefleet_agent.identity import Identity


def _refuse(operation: str, path: Path) -> None:
    raise AssertionError(f"the doctor only reads, and was about to {operation} {path}")


@dataclass(frozen=True, slots=True)
class Patient:
    """What every look needs."""

    state_dir: Path
    config: Path | None
    wall: float
    """Unix seconds, by this board's clock."""
    running: int | None = None
    """Process id of the agent that runs on the state directory."""
    identity: Identity | None = None
    disk: Disk = field(default_factory=lambda: Disk(before=_refuse))
    timeout_s: float = 5.0
    """For each step on the network."""

    @property
    def clock_trusted(self) -> bool:
        """Whether dates can be judged at all."""
        return health.clock_trusted(self.wall)


def running_on(state_dir: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that holds the lock on a state directory; None when none does, or the system doesn't tell.

    Read from the kernel's list: to try the lock, even for a moment, could keep an agent from starting.
    """
    try:
        lock = (state_dir / "lock").stat()
        held = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for words in map(str.split, held):  # 1: FLOCK  ADVISORY  WRITE 4711 08:02:1234567 0 EOF
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(lock.st_ino):
            return int(words[4])
    return None
