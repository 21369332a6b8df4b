"""Durable writes that say it in storage's words when there is no room.

Used by everything on this floor and by the converter's cache.
"""

import errno
from pathlib import Path

from litefleet_controller import fileio
from litefleet_controller.artifacts.errors import StorageFullError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def no_room(error: OSError, place: Path) -> StorageFullError | None:
    """`error` as StorageFullError when that is what it means."""
    return StorageFullError(str(place), str(error.strerror)) if error.errno in _NO_ROOM else None


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what was there; not to be written again.

    Raises: StorageFullError; OSError for what isn't about room.
    """
    try:
        fileio.write_file(path, data, mode=0o444)
    except OSError as e:
        if (full := no_room(e, path.parent)) is not None:
            raise full from e
        raise
