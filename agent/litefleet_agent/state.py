"""What a board remembers: one pointer file, replaced atomically.

It holds, for each slot, what is desired, what was proven (`current`, `previous`), how often a digest was tried and
which are bad. What is being tried at the moment isn't in it: after a kill the proven artifact serves, and the trial,
whose attempt was counted before it began, starts anew.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.logs import EventLog
from litefleet_protocol.messages import SlotDesired

log = EventLog(__name__)
POINTERS = "state.json"


class Artifact(Struct, frozen=True):
    """An artifact manifest's digest, and the ModelVersion's name for people."""

    digest: str
    version: str = ""


class SavedSlot(Struct, frozen=True, kw_only=True):
    """One slot as remembered."""

    desired: SlotDesired | None = None
    current: Artifact | None = None
    previous: Artifact | None = None
    attempts: dict[str, int] = {}
    bad: dict[str, str] = {}
    """Digest to the code it failed with."""


class Saved(Struct, frozen=True, kw_only=True):
    """The whole pointer file."""

    epoch: int = 0
    counter: int = 0
    slots: dict[str, SavedSlot] = {}


class Pointers:
    """The pointer file of one state directory."""

    def __init__(self, disk: Disk, state_dir: Path) -> None:
        self._disk = disk
        self._path = state_dir / POINTERS

    def load(self) -> Saved:
        """What was last saved, durable by now; empty at first. A file that bit rot made unreadable is set aside."""
        data = self._disk.read(self._path)
        if data is None:
            return Saved()
        self._disk.settle(self._path.parent)
        try:
            return msgspec.json.decode(data, type=Saved)
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            log.warning("pointer_file_unreadable", error=e)
            self._disk.rename(self._path, self._path.with_suffix(".damaged"))
            return Saved()

    def save(self, saved: Saved) -> None:
        """Replace the file; durable when this returns."""
        self._disk.replace(self._path, msgspec.json.encode(saved))
