"""Files that survive a power cut: written beside their place, synced, renamed, and the folder synced.

A reader sees the old content or the new, never a part. Here, beside the floors, because artifacts/, identity/ and the
broker write alike.
"""

import os
import secrets
from pathlib import Path


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


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Put `data` at `path`, replacing what was there.

    Raises: OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """Like `write_file`, readable by its owner alone.

    Raises: OSError.
    """
    write_file(path, data, mode=0o600)
