"""All of the agent's disk access, so that durability is decided in one place and tests can stop it at any operation.

What must survive is written temp + fsync + rename + fsync of the directory. Nothing else in the agent opens a file
for writing.
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)
Hook = Callable[[str, Path], None]
"""Called with the operation's name and path before each primitive operation; raising there simulates a kill."""


_PIECE = 4096
"""Read at once when looking for the end of the last line: longer than a line, most of the time."""


def _no_hook(_operation: str, _path: Path) -> None:
    return


def is_full(error: OSError) -> bool:
    """Whether the disk, or a quota on it, has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The file system. Every method may raise OSError."""

    def __init__(self, before: Hook = _no_hook) -> None:
        self._before = before

    def read(self, path: Path) -> bytes | None:
        """A file's content, None when it isn't there."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def read_at(self, path: Path, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def replace(self, path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
        """Make `path` hold `data`, atomically: after a kill it holds the old content or the new.

        Not `durable`: a power cut may lose it, and neither time nor flash is spent on waiting for the disk.
        """
        temp = path.with_name(f".{path.name}.new")
        self._before("write", temp)
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.fchmod(descriptor, mode)
            _write_all(descriptor, data)
            if durable:
                self._before("fsync", temp)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if durable:
            self.rename(temp, path)
        else:
            self._before("rename", path)
            temp.replace(path)

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Write into a file at an offset, creating it when needed. Not durable before `sync`."""
        self._before("write_at", path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(descriptor)

    def append(self, path: Path, data: bytes) -> None:
        """Add to the end of a file, durably. A kill may leave a part of `data`."""
        self._before("append", path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _write_all(descriptor, data)
            self._before("fsync", path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lines(self, path: Path) -> "LineFile":
        """A file that lines are added to."""
        return LineFile(path, self._before)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file down to `size` bytes."""
        self._before("truncate", path)
        os.truncate(path, size)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or directory durably, replacing a file that is there."""
        self._before("rename", target)
        source.replace(target)
        self.sync(target.parent)

    def sync(self, path: Path) -> None:
        """Wait until a file's content, or a directory's entries, are on the disk."""
        self._before("fsync", path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def settle(self, path: Path) -> None:
        """Sync what a process before this one may have left unsynced when it was killed, before anybody relies on it.

        A disk that doesn't take it is no reason not to start.
        """
        try:
            self.sync(path)
        except OSError as e:
            log.warning("not synced: %s", e)

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents."""
        self._before("mkdir", path)
        path.mkdir(parents=True, exist_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file or a directory with all in it, if it is there."""
        self._before("remove", path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def list(self, path: Path) -> list[Path]:
        """A directory's entries in name order; empty when it isn't there."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.iterdir())
        return []

    def size(self, path: Path) -> int | None:
        """A file's bytes, None when it isn't there."""
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
        return None

    def free_bytes(self, path: Path) -> int:
        """Bytes that the file system of `path` still takes from an ordinary user."""
        return shutil.disk_usage(path).free

    def lock(self, path: Path) -> int | None:
        """Lock a file for this process's life; a descriptor for `unlock`, or None when another holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def unlock(self, descriptor: int) -> None:
        """Give up what `lock` got."""
        os.close(descriptor)


class LineFile:
    """Lines for people and programs, added without waiting for the disk: for answers, not for state.

    A line that a kill or a power cut tore is cut off when the file is opened again, or the next would continue it. The
    file stays open between lines, which costs half as much as opening it anew; one that was moved away or removed
    is noticed, and its place taken by a new one. Not thread-safe.
    """

    def __init__(self, path: Path, before: Hook) -> None:
        self._path = path
        self._before = before
        self._descriptor: int | None = None
        self._opened: tuple[int, int] | None = None

    def append(self, data: bytes) -> None:
        """Add a line in one write. What a full disk takes of it is cut off again, or the next would continue it."""
        self._before("append_line", self._path)
        descriptor = self._open()
        written = os.write(descriptor, data)
        if written < len(data):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(self._path)  # noqa: PTH116 - Path.stat costs three times as much, with every answer
                if (found.st_dev, found.st_ino) == self._opened:
                    return self._descriptor
            self.close()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        made = os.fstat(descriptor)
        self._descriptor, self._opened = descriptor, (made.st_dev, made.st_ino)
        if stat.S_ISREG(made.st_mode):
            whole = _end_of_last_line(self._path, made.st_size)
            if whole < made.st_size:
                self._before("truncate", self._path)
                os.ftruncate(descriptor, whole)
        return descriptor


def _end_of_last_line(path: Path, size: int) -> int:
    """Bytes of a file of `size` bytes up to and including its last line feed."""
    with path.open("rb", buffering=0) as file:
        while size:
            start = max(0, size - _PIECE)
            file.seek(start)
            found = (file.read(size - start) or b"").rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
