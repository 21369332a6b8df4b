"""A download as it lies on the disk: its bytes, and what they are the beginning of.

`NAME.part` holds bytes, `NAME.json` says how many of them are certain and which state of the remote file they belong
to. Bytes count as certain once they are synced: after a power cut a file may be longer than what ever reached the disk,
and a splice of that would be another file. What isn't certain is fetched again.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_controller import fileio
from litefleet_controller.artifacts.durable import no_room

SYNC_BYTES = 16 * 1024 * 1024
"""How much may have to be fetched again after a kill."""
_PIECE = 1024 * 1024


class Validator(Struct, frozen=True, kw_only=True):
    """Which state of a remote file bytes belong to. Only strong ones: see RFC 9110, 8.8.1 and 13.1.5."""

    etag: str = ""
    last_modified: str = ""

    @property
    def header(self) -> str:
        """What If-Range says; empty when there is nothing to hold a range against."""
        return self.etag or self.last_modified


class _Sheet(Struct, frozen=True, kw_only=True):
    uri: str
    validator: Validator
    total: int | None
    certain: int


class Partial:
    """One file under way. Blocking work runs in threads; one task at a time uses it."""

    def __init__(self, folder: Path, name: str, uri: str) -> None:
        self._data = folder / f"{name}.part"
        self._sheet_path = folder / f"{name}.json"
        self._uri = uri
        self._hash = hashlib.sha256()
        self._file: int | None = None
        self._unsynced = 0
        self._lock = threading.Lock()  # a cancelled task's thread goes on, and must not write where it was closed
        self.validator = Validator()
        self.total: int | None = None
        self.received = 0

    @property
    def path(self) -> Path:
        """The bytes."""
        return self._data

    @property
    def digest(self) -> str:
        """Of the bytes so far."""
        return f"sha256:{self._hash.hexdigest()}"

    async def open(self) -> None:
        """Find what is certain of an earlier download.

        Raises: StorageFullError, OSError.
        """
        await self._on_disk(self._open)

    async def begin(self, validator: Validator, total: int | None) -> None:
        """Forget what is there: another download begins.

        Raises: StorageFullError, OSError.
        """
        await self._on_disk(self._begin, validator, total)

    async def append(self, data: bytes) -> None:
        """Write the next bytes.

        Raises: StorageFullError, OSError.
        """
        await self._on_disk(self._append, data)

    async def sync(self) -> None:
        """Make all of it certain.

        Raises: StorageFullError, OSError.
        """
        await self._on_disk(self._sync)

    async def close(self) -> None:
        """Make certain what can be, and let go of the file; it stays."""
        await self._on_disk(self._close)

    async def discard(self) -> None:
        """Remove it."""
        await self._on_disk(self._discard)

    async def _on_disk(self, work: Callable[..., None], *arguments: object) -> None:
        def locked() -> None:
            with self._lock:
                work(*arguments)

        try:
            await asyncio.to_thread(locked)
        except OSError as e:
            if (full := no_room(e, self._data.parent)) is not None:
                raise full from e
            raise

    def _close(self) -> None:
        if self._file is None:
            return
        try:
            self._sync()
        finally:
            os.close(self._file)
            self._file = None

    def _discard(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._sheet_path.unlink(missing_ok=True)
        self._data.unlink(missing_ok=True)

    def _open(self) -> None:
        self._file = os.open(self._data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sheet = self._read_sheet()
        if sheet is None or os.fstat(self._file).st_size < sheet.certain:
            self._begin(Validator(), None)
            return
        os.ftruncate(self._file, sheet.certain)
        self.validator, self.total = sheet.validator, sheet.total
        while piece := os.read(self._file, _PIECE):
            self._hash.update(piece)
            self.received += len(piece)

    def _read_sheet(self) -> _Sheet | None:
        try:
            sheet = msgspec.json.decode(self._sheet_path.read_bytes(), type=_Sheet)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return sheet if sheet.uri == self._uri else None

    def _begin(self, validator: Validator, total: int | None) -> None:
        handle = self._handle()
        self._sheet_path.unlink(missing_ok=True)
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.validator, self.total, self.received, self._unsynced = validator, total, 0, 0

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            done = os.write(self._handle(), left)
            self._hash.update(left[:done])
            self.received += done
            self._unsynced += done
            left = left[done:]
        if self._unsynced >= SYNC_BYTES:
            self._sync()

    def _sync(self) -> None:
        if not self._unsynced:
            return
        os.fsync(self._handle())
        sheet = _Sheet(uri=self._uri, validator=self.validator, total=self.total, certain=self.received)
        fileio.write_file(self._sheet_path, msgspec.json.encode(sheet), mode=0o600)
        self._unsynced = 0

    def _handle(self) -> int:
        if self._file is None:
            raise AssertionError("a partial file is written while it is open")
        return self._file
