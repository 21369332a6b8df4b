"""Reading a board's disk from outside: what its files say to somebody who starts from them. Changes nothing."""

import os
from pathlib import Path

import msgspec

from litefleet_agent.fileio import Disk
from litefleet_agent.outbox import Outbox, OutboxLimits
from litefleet_agent.state import Saved
from litefleet_protocol import codec
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Reported
from litefleet_protocol.names import digest_hex


def contents(image: Path) -> dict[str, bytes | None]:
    """Everything on a disk; None for a directory."""
    found: dict[str, bytes | None] = {}
    for folder, names, files in os.walk(image):
        at = Path(folder).relative_to(image)
        found |= {str(at / name): None for name in names}
        found |= {str(at / name): (Path(folder) / name).read_bytes() for name in files}
    return found


def saved(image: Path) -> Saved:
    """What the pointer file says; nothing when there is none that can be read."""
    try:
        return msgspec.json.decode((image / "state" / "state.json").read_bytes(), type=Saved)
    except (OSError, msgspec.MsgspecError):
        return Saved()


def last_report(image: Path) -> Reported | None:
    """What the board told the controller last, as it noted it."""
    try:
        return codec.decode(Reported, (image / "state" / "reported.json").read_bytes())
    except (OSError, ProtocolError):
        return None


class _Untouched(Disk):
    """The outbox cuts what is torn when it reads; here it must not."""

    def truncate(self, path: Path, size: int) -> None:
        pass

    def remove(self, path: Path) -> None:
        pass

    def make_directory(self, path: Path) -> None:
        pass


def windows(image: Path) -> list[tuple[str, int]]:
    """The telemetry that waits, by boot and sequence, oldest first."""
    waiting = Outbox(_Untouched(), image / "state" / "outbox", "", OutboxLimits(window=2**31)).due(0.0)
    return [(record.boot_id, record.sequence) for record in waiting]


def leftovers(image: Path) -> set[str]:
    """Artifact folders that nothing names any more."""
    named = set()
    for slot in saved(image).slots.values():
        artifacts = [a.digest for a in (slot.current, slot.previous) if a]
        named.update(digest_hex(digest) for digest in (*artifacts, *([slot.desired.artifact] if slot.desired else [])))
    root = image / "state" / "artifacts"
    return {path.name for path in root.iterdir() if path.name.removesuffix(".partial") not in named}
