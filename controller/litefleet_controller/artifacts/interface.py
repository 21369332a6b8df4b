"""The port to blob storage. A blob is immutable and named by its SHA-256."""

from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Protocol


class Blobs(Protocol):
    """Content-addressed storage. Digests are `sha256:<hex>`."""

    async def put(self, data: bytes) -> str:
        """Store `data`; its digest. Durable when it returns."""
        ...

    async def put_stream(self, pieces: AsyncIterable[bytes], *, max_bytes: int) -> tuple[str, int]:
        """Store a stream; digest and size. Nothing is kept when it fails.

        Raises: BlobTooLargeError, BlobEmptyError, StorageFullError.
        """
        ...

    async def adopt(self, path: Path, digest: str) -> None:
        """Take over the file at `path`, which the caller hashed and wrote to the last byte; it is gone afterwards.

        Raises: StorageFullError.
        """
        ...

    async def get(self, digest: str) -> bytes:
        """All of a blob, its hash checked.

        Raises: BlobNotFoundError, BlobCorruptError.
        """
        ...

    def stream(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `[start, end)`.

        Raises: BlobNotFoundError.
        """
        ...

    async def size(self, digest: str) -> int | None:
        """Bytes, or None when it isn't there."""
        ...

    async def local_path(self, digest: str) -> Path:
        """A read-only file with the content, for a converter's child process.

        Raises: BlobNotFoundError, BlobCorruptError.
        """
        ...

    async def delete(self, digest: str) -> None:
        """Remove it, if it is there."""
        ...
