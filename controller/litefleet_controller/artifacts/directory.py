"""Blobs as files in one directory: what `litefleet up` uses, and what every other storage is measured against.

A blob is `root/ab/abcdef…`, read-only, written temp + fsync + rename + directory fsync: a name that exists is whole.
A kill leaves files in `root/tmp` only, which the next start removes; one process at a time owns a root.
"""

import asyncio
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from litefleet_controller.artifacts.durable import no_room
from litefleet_controller.artifacts.errors import (
    BlobCorruptError,
    BlobEmptyError,
    BlobNotFoundError,
    BlobTooLargeError,
)
from litefleet_controller.fileio import make_directory, sync_directory
from litefleet_protocol.names import digest_hex

_PIECE_BYTES = 1024 * 1024
_READ_ONLY = 0o444


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a file looked like when its hash was checked; the same stamp needs no second check in this process."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "_Stamp":
        status = path.stat()
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


class DirectoryBlobs:
    """Implements `interface.Blobs`. Blocking work runs in threads."""

    def __init__(self, root: Path) -> None:
        """Open `root`, make it where it isn't, and remove what an earlier kill left unfinished."""
        self._root = root
        self._incoming = root / "tmp"
        self._checked: dict[str, _Stamp] = {}
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()

    async def put(self, data: bytes) -> str:
        """Store `data`; its digest.

        Raises: StorageFullError.
        """
        return await asyncio.to_thread(self._put, data)

    async def put_stream(self, pieces: AsyncIterable[bytes], *, max_bytes: int) -> tuple[str, int]:
        """Store a stream; digest and size.

        Raises: BlobTooLargeError, BlobEmptyError, StorageFullError.
        """
        incoming = await asyncio.to_thread(_Incoming, self._incoming)
        try:
            async for piece in pieces:
                if incoming.size + len(piece) > max_bytes:
                    raise BlobTooLargeError(max_bytes)
                await asyncio.to_thread(incoming.write, piece)
            if incoming.size == 0:
                raise BlobEmptyError
            return await asyncio.to_thread(self._adopt, incoming), incoming.size
        finally:
            # Not awaited in a thread: a cancelled upload must not leave its file behind.
            incoming.discard()

    async def adopt(self, path: Path, digest: str) -> None:
        """Take over a file, without copying it where it lies on the same disk.

        Raises: StorageFullError.
        """
        try:
            await asyncio.to_thread(self._take_over, path, digest)
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
            await self._copy(path, digest)

    async def get(self, digest: str) -> bytes:
        """All of a blob.

        Raises: BlobNotFoundError, BlobCorruptError.
        """
        return await asyncio.to_thread(self._get, digest)

    async def stream(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `[start, end)`, in pieces of at most 1 MiB. Their hash isn't checked: whoever fetches does.

        Raises: BlobNotFoundError.
        """
        file = await asyncio.to_thread(self._open, digest)
        try:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else max(0, end - start)
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, _PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece
        finally:
            file.close()

    async def size(self, digest: str) -> int | None:
        """Bytes, or None when it isn't there."""
        try:
            return (await asyncio.to_thread(self._path(digest).stat)).st_size
        except FileNotFoundError:
            return None

    async def local_path(self, digest: str) -> Path:
        """The blob's own file, its hash checked once for as long as the file doesn't change.

        Raises: BlobNotFoundError, BlobCorruptError.
        """
        return await asyncio.to_thread(self._verified, digest)

    async def delete(self, digest: str) -> None:
        """Remove it, if it is there."""
        self._checked.pop(digest, None)
        await asyncio.to_thread(self._path(digest).unlink, missing_ok=True)

    def _path(self, digest: str) -> Path:
        name = digest_hex(digest)
        return self._root / name[:2] / name

    def _put(self, data: bytes) -> str:
        incoming = _Incoming(self._incoming)
        try:
            incoming.write(data)
            return self._adopt(incoming)
        finally:
            incoming.discard()

    def _take_over(self, path: Path, digest: str) -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fchmod(handle, _READ_ONLY)
            os.fsync(handle)
        finally:
            os.close(handle)
        self._name(path, digest)

    async def _copy(self, path: Path, digest: str) -> None:
        """From another disk. Its hash is taken on the way, as of any stream."""
        with path.open("rb") as file:
            found, _ = await self.put_stream(_pieces(file), max_bytes=os.fstat(file.fileno()).st_size)
        if found != digest:
            raise BlobCorruptError(digest)
        await asyncio.to_thread(path.unlink)

    def _adopt(self, incoming: "_Incoming") -> str:
        """Give a finished file its name. A damaged blob of that name is replaced, which repairs it."""
        digest = incoming.finish()
        if self._name(incoming.path, digest):
            self._checked[digest] = _Stamp.of(self._path(digest))
        return digest

    def _name(self, file: Path, digest: str) -> bool:
        """Give a durable file its name, unless it has a good blob already."""
        path = self._path(digest)
        try:
            self._verified(digest)
        except (BlobNotFoundError, BlobCorruptError):
            make_directory(path.parent)
            file.replace(path)
            sync_directory(path.parent)
            return True
        file.unlink()
        return False

    def _open(self, digest: str) -> BufferedReader:
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError as e:
            raise BlobNotFoundError(digest) from e

    def _get(self, digest: str) -> bytes:
        with self._open(digest) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != digest_hex(digest):
            raise BlobCorruptError(digest)
        return data

    def _verified(self, digest: str) -> Path:
        path = self._path(digest)
        with self._open(digest) as file:
            stamp = _Stamp.of(path)
            if self._checked.get(digest) != stamp:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest_hex(digest):
                    raise BlobCorruptError(digest)
                self._checked[digest] = stamp
        return path


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece


class _Incoming:
    """A file that doesn't know its name yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(12)
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY), "wb")

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises: StorageFullError.
        """
        try:
            self._file.write(data)
        except OSError as e:
            self._refuse(e)
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> str:
        """Make the content durable; its digest.

        Raises: StorageFullError.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as e:
            self._refuse(e)
        return f"sha256:{self._hash.hexdigest()}"

    def discard(self) -> None:
        """Forget what wasn't adopted."""
        try:
            self._file.close()
        except OSError:
            # What the buffer still held doesn't fit either; the file goes anyway.
            self._file.raw.close()
        self.path.unlink(missing_ok=True)

    def _refuse(self, error: OSError) -> None:
        if (full := no_room(error, self.path.parent)) is not None:
            raise full from error
        raise error
