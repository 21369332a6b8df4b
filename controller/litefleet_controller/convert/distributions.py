"""Versions of installed distributions, known without importing them.

Reading one parses a file of some 10 kB and takes a millisecond, more than all the rest of a request that was answered
before. So it is read again only when something was installed or removed: that changes the time of a folder that modules
are imported from. An upgrade under a running controller counts for the next request.
"""

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

_Stamp = tuple[int, ...]


def installed_version(distribution: str) -> str | None:
    """The version, or None when it isn't installed."""
    return _read(distribution, tuple(_changed()))


@lru_cache(maxsize=64)
def _read(distribution: str, _: _Stamp) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _changed() -> Iterator[int]:
    for folder in sys.path:
        try:
            yield os.stat(folder).st_mtime_ns  # noqa: PTH116 - making a Path takes five times as long
        except OSError:
            yield 0  # not every entry is there
