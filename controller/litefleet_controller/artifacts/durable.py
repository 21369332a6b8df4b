"""Files that survive a power cut: written beside their place, synced, renamed, and the folder synced.

Used by everything on this floor and by the converter's cache. A reader sees the old content or the new, never a part.
"""

import errno
import os
import secrets
from pathlib import Path

from litefleet_controller.artifacts.errors import StorageFullError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def sync_directory(path: Path) -> None:
    """Make renames and new names in `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(path: Path) -> None:
    """Create `path` (one level below an existing folder), durably; nothing happens when it is there."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    sync_directory(path.parent)


def no_room(error: OSError, place: Path) -> StorageFullError | None:
    """`error` as StorageFullError when that is what it means."""
    return StorageFullError(str(place), str(error.strerror)) if error.errno in _NO_ROOM else None


def write_file(path: Path, data: bytes, *, mode: int = 0o444) -> None:
    """Put `data` at `path`, replacing what was there.

    Raises: StorageFullError; OSError for what isn't about room.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        if (full := no_room(e, path.parent)) is not None:
            raise full from e
        raise
