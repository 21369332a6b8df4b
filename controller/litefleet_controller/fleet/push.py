"""Uploads: a model or a data set from a laptop becomes a blob, named by its content.

A stream is written to a scratch file, judged whole, and only then stored, so that nothing of a refused file is kept and
a blob that already exists under the same content is never touched.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import IO, TypedDict

from litefleet_controller.artifacts.errors import StorageFullError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.fleet.errors import UploadTooLargeError
from litefleet_controller.fleet.formats import HEAD_BYTES, check_archive, check_head, check_name

MAX_BYTES = 2 * 1024**3
"""An upload. The largest data sets that calibration and evaluation need are far below."""

_PIECE = 1024 * 1024


class Pushed(TypedDict):
    """What an upload became."""

    uri: str
    """What a manifest says: `blob://sha256:...`."""
    digest: str
    size: int
    """Bytes."""


class Uploads:
    """Takes files in. `scratch` is a directory on a disk with room for one upload at a time."""

    def __init__(self, blobs: Blobs, *, scratch: Path, max_bytes: int = MAX_BYTES) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._max_bytes = max_bytes

    async def push(self, stream: AsyncIterable[bytes], name: str) -> Pushed:
        """Check and store a file that was named `name` where it comes from.

        Raises:
            UploadRefusedError: `Empty`, `FormatMismatch`, `FormatForbidden`, `ArchiveUnsafe`.
            UploadTooLargeError: more than the limit.
            artifacts.errors: when the storage refuses.
        """
        check_name(name)
        with tempfile.NamedTemporaryFile(dir=self._scratch, prefix="upload-", buffering=0) as scratch:
            await self._spool(stream, name, scratch)
            path = Path(scratch.name)
            await asyncio.to_thread(check_archive, name, path)
            digest, size = await self._blobs.put_stream(_pieces(path), max_bytes=self._max_bytes)
        return {"uri": f"blob://{digest}", "digest": digest, "size": size}

    async def _spool(self, stream: AsyncIterable[bytes], name: str, scratch: IO[bytes]) -> None:
        """Write `stream` to `scratch`; the first bytes are judged as soon as they are there."""
        size, head, judged = 0, b"", False
        async for piece in stream:
            size += len(piece)
            if size > self._max_bytes:
                raise UploadTooLargeError(
                    "TooLarge", f"{name!r} is larger than {self._max_bytes} bytes, the most that an upload may have"
                )
            if not judged:
                head += piece[:HEAD_BYTES]
                if len(head) >= HEAD_BYTES:
                    check_head(name, head)
                    judged = True
            await asyncio.to_thread(self._write, scratch, piece)
        if not judged:
            check_head(name, head)

    def _write(self, scratch: IO[bytes], piece: bytes) -> None:
        left = memoryview(piece)
        try:
            while left:
                left = left[scratch.write(left) :]
        except OSError as e:
            raise StorageFullError(str(self._scratch), e.strerror or str(e)) from e


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
