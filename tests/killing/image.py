"""Reading a board's disk from outside: what its files say to somebody who starts from them. Changes nothing."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from litefleet_agent.outbox import Record
from litefleet_agent.state import Saved
from litefleet_protocol import codec
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Reported
from litefleet_protocol.names import digest_hex

_HEADER = struct.Struct(">II")


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


def windows(image: Path) -> list[tuple[str, int]]:
    """The telemetry that waits, by boot and sequence, oldest first."""
    segments = sorted((image / "state" / "outbox").glob("*.log"))
    return [(r.boot_id, r.sequence) for path in segments for r in _records(path.read_bytes())]


def _records(data: bytes) -> Iterator[Record]:
    """By the format that the outbox's docstring promises, up to the first one that is torn."""
    while len(data) >= _HEADER.size:
        size, checksum = _HEADER.unpack_from(data)
        payload, data = data[_HEADER.size : _HEADER.size + size], data[_HEADER.size + size :]
        if len(payload) != size or zlib.crc32(payload) != checksum:
            return
        yield msgspec.msgpack.decode(payload, type=Record)


def leftovers(image: Path) -> set[str]:
    """Artifact folders that nothing names any more."""
    named = set()
    for slot in saved(image).slots.values():
        artifacts = [a.digest for a in (slot.current, slot.previous) if a]
        named.update(digest_hex(digest) for digest in (*artifacts, *([slot.desired.artifact] if slot.desired else [])))
    root = image / "state" / "artifacts"
    return {path.name for path in root.iterdir() if path.name.removesuffix(".partial") not in named}
