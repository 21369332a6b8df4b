"""Files between blobs and workers."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from io import BufferedReader
from pathlib import Path

import msgspec

from litefleet_controller.artifacts.errors import BlobCorruptError, BlobError, BlobNotFoundError
from litefleet_controller.artifacts.examination import MAX_BYTES, decode, encode
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.process import WorkerProcess

_MAX_MADE_BYTES = 1024**3
_PIECE = 1024 * 1024


async def hand(blobs: Blobs, digest: str, what: str, worker: WorkerProcess) -> Path:
    """Let a worker read a blob; where it finds it.

    Raises:
        ConversionError: `NotFound`; `DigestMismatch` when the disk has damaged it; `StorageFailed`.
    """
    try:
        return await worker.hand(await blobs.local_path(digest))
    except BlobNotFoundError as e:
        raise ConversionError("NotFound", f"the {what} isn't there: {e}", final=True) from e
    except BlobCorruptError as e:
        raise ConversionError("DigestMismatch", f"the {what} is damaged: {e}", final=True) from e
    except OSError as e:
        raise ConversionError("StorageFailed", f"the {what} can't be handed to a worker: {e}", final=False) from e


async def adopt(blobs: Blobs, path: Path) -> tuple[str, int]:
    """A file that a worker made as a blob; digest and size.

    Raises:
        ConversionError: `StorageFailed`.
    """
    try:
        data = await asyncio.to_thread(read_plain_file, path)
        return await blobs.put(data), len(data)
    except (OSError, BlobError) as e:
        raise ConversionError("StorageFailed", f"{path.name} can't be kept: {e}", final=False) from e


async def keep_document(blobs: Blobs, document: bytes) -> str:
    """A variant's provenance as a blob; its digest.

    Raises:
        ConversionError: `StorageFailed`.
    """
    digest = f"sha256:{hashlib.sha256(document).hexdigest()}"
    try:
        if await blobs.size(digest) is None:  # storing it again would sync the disk
            await blobs.put(document)
    except (OSError, BlobError) as e:
        raise ConversionError("StorageFailed", f"the variant's provenance can't be kept: {e}", final=False) from e
    return digest


async def adopt_examination(blobs: Blobs, path: Path) -> str:
    """What a worker says of how its variant answers, as a blob, when it is what it should be; its digest.

    Raises:
        ConversionError: `WorkerCrashed` or `StorageFailed`.
    """
    try:
        read = await asyncio.to_thread(read_plain_file, path, MAX_BYTES)
        return await blobs.put(encode(decode(read)))
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ConversionError("WorkerCrashed", f"the worker's examination can't be read: {e}", final=False) from e
    except (OSError, BlobError) as e:
        raise ConversionError("StorageFailed", f"{path.name} can't be kept: {e}", final=False) from e


async def keep(blobs: Blobs, path: Path) -> str:
    """A large file that a worker made as a blob, copied piece by piece; its digest.

    Raises:
        ConversionError: `StorageFailed`.
    """
    try:
        with await asyncio.to_thread(_open_plain_file, path) as file:
            return (await blobs.put_stream(_pieces(file), max_bytes=_MAX_MADE_BYTES))[0]
    except (OSError, BlobError) as e:
        raise ConversionError("StorageFailed", f"{path.name} can't be kept: {e}", final=False) from e


async def _pieces(file: BufferedReader) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


def read_plain_file(path: Path, max_bytes: int = _MAX_MADE_BYTES) -> bytes:
    """The content of a file that a worker, which isn't trusted, says it made: no link to something else."""
    with _open_plain_file(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise OSError(f"more than {max_bytes} bytes")
        return file.read()


def _open_plain_file(path: Path) -> BufferedReader:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
