"""From a URI to a blob: by its scheme, held against the digest that was asked for, once at a time for each URI."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BufferedReader
from pathlib import Path
from weakref import WeakValueDictionary

from litefleet_controller.artifacts.errors import BlobEmptyError, BlobError, BlobTooLargeError, StorageFullError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.uris import BlobUri, FileUri, HttpUri, S3Uri, parse_uri
from litefleet_controller.sources.answers import check_size
from litefleet_controller.sources.download import Download, Target
from litefleet_controller.sources.exchange import Exchange, Patience, check_host
from litefleet_controller.sources.files import open_file
from litefleet_controller.sources.interface import Fetched, Fetching, SourceError, Tell, Wanted
from litefleet_controller.sources.memory import Memory, Seen
from litefleet_controller.sources.network import Resolve, resolve, tls_context
from litefleet_controller.sources.objectstore import ObjectStore, check_bucket
from litefleet_controller.sources.partial import Partial, Validator
from litefleet_controller.sources.policy import SourcePolicy

_KEPT_S = 7 * 24 * 3600.0
"""How long a download that nobody goes on with is kept."""
_PIECE = 1024 * 1024


class BlobFetcher:
    """Implements `interface.Fetcher`."""

    def __init__(
        self,
        blobs: Blobs,
        folder: Path,
        policy: SourcePolicy,
        *,
        patience: Patience | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        """Keep what is under way in `folder`, best on the disk that has the blobs. Reads certificates.

        Raises: OSError, when the operator's certificates can't be read.
        """
        for part in (folder, folder / "partial", folder / "seen"):
            part.mkdir(mode=0o700, exist_ok=True)
        self._blobs = blobs
        self._partial = folder / "partial"
        self._memory = Memory(folder / "seen")
        self._policy = policy
        self._patience = patience or Patience()
        self._exchange = Exchange(policy, tls_context(policy), self._patience, resolve)
        self._objects = ObjectStore(policy)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        _forget_old(self._partial)

    async def fetch(self, wanted: Wanted, tell: Tell) -> Fetched:
        """See `interface.Fetcher`.

        Raises: SourceError.
        """
        if wanted.digest is not None and (size := await self._blobs.size(wanted.digest)) is not None:
            return Fetched(wanted.digest, size)
        try:
            uri = parse_uri(wanted.uri)
            match uri:
                case BlobUri():
                    raise SourceError(
                        "NotFound",
                        f"nothing was pushed as {wanted.uri}",
                        hint="upload it with 'litefleet model push FILE'",
                    )
                case FileUri():
                    return await self._copy(uri, wanted, tell)
                case HttpUri() | S3Uri():
                    async with self._alone(wanted.uri):
                        return await self._download(uri, wanted, tell)
        except FieldError as e:
            raise SourceError(e.code, str(e), final=True) from e
        except BlobEmptyError as e:
            raise SourceError("Empty", str(e)) from e
        except BlobTooLargeError as e:
            check_size(e.max_bytes + 1, e.max_bytes)
            raise
        except StorageFullError as e:
            raise SourceError("StorageFull", str(e)) from e
        except (BlobError, OSError) as e:
            raise SourceError("StorageFailed", f"it can't be kept: {e}") from e

    @asynccontextmanager
    async def _alone(self, uri: str) -> AsyncIterator[None]:
        """Two who want different contents of one URI share its file on the disk."""
        lock = self._locks.setdefault(uri, asyncio.Lock())
        async with lock:
            yield

    async def _copy(self, uri: FileUri, wanted: Wanted, tell: Tell) -> Fetched:
        file = await asyncio.to_thread(open_file, self._policy, uri)
        try:
            if wanted.digest is not None:
                # Read twice, so that nothing of a wrong file is kept.
                found = await asyncio.to_thread(lambda: f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
                _check_digest(found, wanted)
                await asyncio.to_thread(file.seek, 0)
            digest, size = await self._blobs.put_stream(_pieces(file, tell), max_bytes=self._policy.max_bytes)
        finally:
            file.close()
        _check_digest(digest, wanted)
        return Fetched(digest, size)

    async def _download(self, uri: HttpUri | S3Uri, wanted: Wanted, tell: Tell) -> Fetched:
        self._check_allowed(uri)
        name = hashlib.sha256(wanted.uri.encode()).hexdigest()
        seen = await self._remembered(name, wanted)
        partial = Partial(self._partial, name, wanted.uri)
        try:
            await partial.open()
            download = Download(self._exchange, self._patience, self._policy.max_bytes, self._target(uri))
            if not await download.run(partial, seen.validator if seen else Validator(), tell) and seen is not None:
                _check_digest(seen.digest, wanted)
                await partial.discard()
                return Fetched(seen.digest, await self._blobs.size(seen.digest) or 0)
            return await self._adopt(name, partial, wanted)
        finally:
            # A cancelled task waits for the disk, too: what came is worth keeping.
            await asyncio.shield(partial.close())

    async def _adopt(self, name: str, partial: Partial, wanted: Wanted) -> Fetched:
        await partial.sync()
        digest, size = partial.digest, partial.received
        try:
            _check_digest(digest, wanted)
        except SourceError:
            await partial.discard()
            raise
        await self._blobs.adopt(partial.path, digest)
        await partial.discard()
        if partial.validator.etag:
            entry = Seen(uri=wanted.uri, validator=partial.validator, digest=digest)
            await asyncio.to_thread(self._memory.write, name, entry)
        return Fetched(digest, size)

    async def _remembered(self, name: str, wanted: Wanted) -> Seen | None:
        seen = await asyncio.to_thread(self._memory.read, name, wanted.uri)
        return seen if seen is not None and await self._blobs.size(seen.digest) is not None else None

    def _check_allowed(self, uri: HttpUri | S3Uri) -> None:
        if isinstance(uri, HttpUri):
            check_host(self._policy, uri)
        else:
            check_bucket(self._policy, uri.bucket)

    def _target(self, uri: HttpUri | S3Uri) -> Target:
        async def where() -> tuple[HttpUri, SourcePolicy | None]:
            if isinstance(uri, HttpUri):
                return uri, None
            return await self._objects.signed(uri), self._policy.with_endpoint()

        return where


def _check_digest(found: str, wanted: Wanted) -> None:
    if wanted.digest not in (None, found):
        raise SourceError("DigestMismatch", f"{wanted.digest} is expected, and the URI gives {found}")


async def _pieces(file: BufferedReader, tell: Tell) -> AsyncIterator[bytes]:
    received = 0
    while piece := await asyncio.to_thread(file.read, _PIECE):
        received += len(piece)
        tell(Fetching(received))
        yield piece


def _forget_old(folder: Path) -> None:
    oldest = time.time() - _KEPT_S
    for path in folder.iterdir():
        if path.stat().st_mtime < oldest:
            path.unlink()
