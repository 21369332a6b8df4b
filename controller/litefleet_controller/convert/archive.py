"""What an uploaded source must be before anything opens it: the first bytes, and the members of an archive.

The rules that `.keras` files and packed SavedModels share; what only one of them has to hold stands in containment.py
and savedmodel.py. Nothing is unpacked here. Runs in workers, without tensorflow.
"""

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from litefleet_controller.convert.interface import ConversionError

ZIP_MAGIC = b"PK\x03\x04"
_MAX_CONTENT_BYTES = 4 * 1024**3
_MAX_JSON_BYTES = 32 * 1024**2
_MAX_MEMBERS = 64
_MAX_RATIO = 200
"""Weights hardly compress and nobody compresses them; JSON reaches 20."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, IndexError,
)  # fmt: skip
"""What zipfile raises for an archive that isn't whole, or is none. OSError too, for places that no file has."""


def refuse(code: str, message: str, hint: str = "") -> NoReturn:
    """Refuse a source for good.

    Raises: ConversionError.
    """
    raise ConversionError(code, message, final=True, hint=hint)


def check_head(path: Path, magic: bytes, what: str, hint: str, *, offset: int = 0) -> None:
    """Refuse a file that doesn't begin as `what` does: with `magic` at `offset`.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden` or `FormatMismatch`.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        refuse("Empty", "the source is empty (0 bytes)", "upload the model file again")
    if head == HDF5_MAGIC:
        refuse(
            "FormatForbidden",
            "the source is an .h5 file, which can carry code that runs when it is loaded",
            "litefleet model import-h5 makes a .keras file of it",
        )
    if head.startswith(_PICKLE_MAGIC):
        refuse(
            "FormatForbidden",
            "the source is a Python pickle, which can carry code that runs when it is loaded",
            'save the model with model.save("model.keras")',
        )
    if head[offset : offset + len(magic)] != magic:
        refuse("FormatMismatch", f"the source isn't {what}: it begins with {head!r}, without {magic!r}", hint)


@dataclass(frozen=True, slots=True)
class Contents:
    """Which members an archive of some kind has."""

    what: str
    """The kind, as messages name it."""
    needed: frozenset[str]
    belongs: Callable[[str], bool]


def check_members(members: list[zipfile.ZipInfo], packed_bytes: int, contents: Contents) -> None:
    """Refuse an archive of `packed_bytes` that isn't of a kind, or holds more than that kind does.

    Raises:
        ConversionError: final; `ArchiveUnsafe` or `FormatMismatch`.
    """
    names = [m.filename for m in members]
    for member in members:
        _check_place(member)
    if len(members) > _MAX_MEMBERS or len(set(names)) != len(names):
        refuse("ArchiveUnsafe", f"the source has {len(members)} members, some perhaps twice")
    content = sum(m.file_size for m in members)
    if content > _MAX_CONTENT_BYTES or content > _MAX_RATIO * packed_bytes:
        refuse("ArchiveUnsafe", f"the source is a zip bomb: {packed_bytes} bytes unpack to {content}")
    if missing := contents.needed - set(names):
        refuse("FormatMismatch", f"the source isn't a {contents.what}: it has no {', '.join(sorted(missing))}")
    if strangers := sorted(n for n in names if not contents.belongs(n)):
        refuse("ArchiveUnsafe", f"the source has a member that no {contents.what} has: {strangers[0][:80]!r}")
    for member in members:
        if member.filename.endswith(".json") and member.file_size > _MAX_JSON_BYTES:
            refuse("ArchiveUnsafe", f"{member.filename} has {member.file_size} bytes; the limit is {_MAX_JSON_BYTES}")


def _check_place(member: zipfile.ZipInfo) -> None:
    name, shown = member.filename, member.filename[:80]
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        refuse("ArchiveUnsafe", f"the source has a member outside its folder: {shown!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        refuse("ArchiveUnsafe", f"the source has a symbolic link: {shown!r}")
