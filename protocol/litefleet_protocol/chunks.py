"""The arithmetic of chunks: how files are cut, and what of them is still missing. Pure; disks are the callers'."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import CHUNK_BYTES, MAX_CHUNKS
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.names import is_digest


def chunk_count(size: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Chunks of an artifact of `size` bytes."""
    return -(-size // chunk_bytes)


def total_size(manifest: ArtifactManifest) -> int:
    """Bytes of all files of an artifact."""
    return sum(f.size for f in manifest.files)


def chunk_range(manifest: ArtifactManifest, index: int) -> tuple[int, int]:
    """Byte range `[start, end)` of chunk `index` in the concatenated files.

    Raises:
        ProtocolError: `BadChunk` when there is no such chunk.
    """
    if not 0 <= index < len(manifest.chunks):
        raise ProtocolError(Code.BAD_CHUNK, f"chunk {index} of an artifact with {len(manifest.chunks)}", field="index")
    start = index * manifest.chunk_bytes
    return start, min(start + manifest.chunk_bytes, total_size(manifest))


def cut(data: Iterable[bytes], chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Re-cut a stream of byte strings into chunks; all but the last have `chunk_bytes`."""
    pending = bytearray()
    for piece in data:
        pending += piece
        while len(pending) >= chunk_bytes:
            yield bytes(pending[:chunk_bytes])
            del pending[:chunk_bytes]
    if pending:
        yield bytes(pending)


def chunk_hash(chunk: bytes) -> str:
    """Hex SHA-256, as the manifest lists it."""
    return hashlib.sha256(chunk).hexdigest()


def check_chunk(manifest: ArtifactManifest, index: int, chunk: bytes) -> tuple[int, int]:
    """The byte range where `chunk` belongs, once it is proven to be chunk `index`.

    Raises:
        ProtocolError: `BadChunk` for an index or length that can't be, `DigestMismatch` for other bytes.
    """
    start, end = chunk_range(manifest, index)
    if len(chunk) != end - start:
        raise ProtocolError(Code.BAD_CHUNK, f"chunk {index} has {len(chunk)} bytes, not {end - start}", field="index")
    if chunk_hash(chunk) != manifest.chunks[index]:
        raise ProtocolError(Code.DIGEST_MISMATCH, f"chunk {index} is not the one that was signed", field="index")
    return start, end


def missing(total: int, held: Collection[int], window: int) -> list[int]:
    """The next `window` chunks to fetch, lowest first."""
    wanted: list[int] = []
    for index in range(total):
        if len(wanted) == window:
            break
        if index not in held:
            wanted.append(index)
    return wanted


def check_manifest(manifest: ArtifactManifest) -> None:
    """Check that a manifest is consistent with itself, whoever signed it.

    Raises:
        ProtocolError: `Empty`, `TooLarge` or `BadMessage`.
    """
    size = total_size(manifest)
    if not manifest.files or size == 0 or any(f.size <= 0 for f in manifest.files):
        raise ProtocolError(Code.EMPTY, "an artifact without content", field="files")
    if len(manifest.chunks) > MAX_CHUNKS:
        raise ProtocolError(Code.TOO_LARGE, f"{len(manifest.chunks)} chunks; the limit is {MAX_CHUNKS}", field="chunks")
    if not 0 < manifest.chunk_bytes <= CHUNK_BYTES:
        raise ProtocolError(Code.BAD_MESSAGE, f"chunks of {manifest.chunk_bytes} bytes", field="chunkBytes")
    if len(manifest.chunks) != chunk_count(size, manifest.chunk_bytes):
        raise ProtocolError(Code.BAD_MESSAGE, f"{len(manifest.chunks)} chunks for {size} bytes", field="chunks")
    names = [f.name for f in manifest.files]
    if len(set(names)) != len(names) or not all(_is_plain(n) for n in names):
        raise ProtocolError(Code.BAD_MESSAGE, "file names must be distinct and plain", field="files")
    if not all(is_digest(f.digest) for f in manifest.files) or not _all_hex(manifest.chunks):
        raise ProtocolError(Code.BAD_MESSAGE, "a hash that isn't SHA-256", field="files")


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= 64 and name.isascii() and name[0] != "." and all(c.isalnum() or c in "._-" for c in name)


def _all_hex(hashes: Sequence[str]) -> bool:
    return all(is_digest(f"sha256:{h}") for h in hashes)
