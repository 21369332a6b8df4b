"""Artifacts on the disk: immutable folders named by digest, made complete beside their place and then renamed into it.

    artifacts/<hex>/manifest.dsse      the signed manifest, as it came
    artifacts/<hex>/files/<name>       the model's files (runtimes.MODEL_FILES), golden.npz
    artifacts/<hex>.partial/...        the same, while chunks arrive

Called by `fetch` (filling), `verify`, `check` and `swap` (reading), and the main loop (collecting).
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from pathlib import Path

from litefleet_agent.errors import AgentError
from litefleet_agent.fileio import Disk
from litefleet_protocol import chunks, codec, envelope
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.names import digest_hex

SPARE_BYTES = 4 * 1024 * 1024
"""Disk that stays free whatever is fetched: the pointer file, the outbox and the rest of the system need some."""
_HASH_PIECE = 1024 * 1024


def read_manifest(digest: str, sealed: bytes) -> ArtifactManifest:
    """The manifest inside an envelope, proven to be the one that `digest` names; the signature isn't checked here.

    Raises:
        ProtocolError: `DigestMismatch` for another payload, `BadMessage` or `TooLarge` for what isn't a manifest.
    """
    opened = envelope.parse(sealed, max_bytes=MAX_MANIFEST_BYTES)
    try:
        payload = base64.b64decode(opened.payload, validate=True)
    except binascii.Error as e:
        raise ProtocolError(Code.BAD_MESSAGE, f"not base64 in an artifact's envelope: {e}") from e
    if f"sha256:{hashlib.sha256(payload).hexdigest()}" != digest:
        raise ProtocolError(Code.DIGEST_MISMATCH, "not the manifest that was signed for", field="payload")
    manifest = codec.decode(ArtifactManifest, payload, max_bytes=MAX_MANIFEST_BYTES)
    chunks.check_manifest(manifest)
    return manifest


class ArtifactFolder:
    """One artifact's folder, complete or not."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self.path = path

    def file(self, name: str) -> Path:
        """Where a file of the artifact lies."""
        return self.path / "files" / name

    def sealed_manifest(self) -> bytes | None:
        """The envelope, None when it isn't there."""
        return self._disk.read(self.path / "manifest.dsse")

    def keep_manifest(self, sealed: bytes) -> None:
        """Write the envelope."""
        self._disk.make_directory(self.path / "files")
        self._disk.replace(self.path / "manifest.dsse", sealed)

    def drop_manifest(self) -> None:
        """Forget an envelope that isn't believed, so that it is asked for again; the files stay."""
        self._disk.remove(self.path / "manifest.dsse")

    def write_chunk(self, manifest: ArtifactManifest, start: int, data: bytes) -> None:
        """Write bytes that begin at `start` of the concatenated files into the files they belong to."""
        end = start + len(data)
        offset = 0
        for file in manifest.files:
            low, high = max(start, offset), min(end, offset + file.size)
            if low < high:
                self._disk.write_at(self.file(file.name), low - offset, data[low - start : high - start])
            offset += file.size

    def held_chunks(self, manifest: ArtifactManifest) -> set[int]:
        """The chunks that lie on the disk unharmed, found by hashing them again."""
        total = len(manifest.chunks)
        return {n for n in range(total) if chunks.chunk_hash(self._read_chunk(manifest, n)) == manifest.chunks[n]}

    def _read_chunk(self, manifest: ArtifactManifest, index: int) -> bytes:
        start, end = chunks.chunk_range(manifest, index)
        found = b""
        offset = 0
        for file in manifest.files:
            low, high = max(start, offset), min(end, offset + file.size)
            path = self.file(file.name)
            if low < high and self._disk.size(path) is not None:
                found += self._disk.read_at(path, low - offset, high - low)
            offset += file.size
        return found

    def check_files(self, manifest: ArtifactManifest) -> None:
        """Hash every file.

        Raises:
            AgentError: `DigestMismatch` for a file that is missing or not what the manifest says.
        """
        for file in manifest.files:
            path = self.file(file.name)
            if self._disk.size(path) != file.size or self._hash(path) != file.digest:
                raise AgentError(Code.DIGEST_MISMATCH, f"{file.name} is damaged or missing on the disk")

    def _hash(self, path: Path) -> str:
        whole = hashlib.sha256()
        for piece in self._pieces(path):
            whole.update(piece)
        return f"sha256:{whole.hexdigest()}"

    def _pieces(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(_HASH_PIECE):
                yield piece

    def sync(self, manifest: ArtifactManifest) -> None:
        """Wait until all of it is on the disk."""
        for file in manifest.files:
            self._disk.sync(self.file(file.name))
        self._disk.sync(self.path / "files")
        self._disk.sync(self.path)


class Slots:
    """All artifacts of a board."""

    def __init__(self, disk: Disk, state_dir: Path) -> None:
        self._disk = disk
        self._root = state_dir / "artifacts"
        disk.make_directory(self._root)
        disk.settle(self._root)

    def complete(self, digest: str) -> ArtifactFolder:
        """The folder of a complete artifact; it may not exist."""
        return ArtifactFolder(self._disk, self._root / digest_hex(digest))

    def partial(self, digest: str) -> ArtifactFolder:
        """The folder of an artifact that is being fetched."""
        return ArtifactFolder(self._disk, self._root / f"{digest_hex(digest)}.partial")

    def manifest(self, digest: str) -> ArtifactManifest:
        """The manifest of a complete artifact.

        Raises:
            AgentError: `DigestMismatch` when it isn't on the disk or is damaged.
        """
        sealed = self.complete(digest).sealed_manifest()
        try:
            if sealed is not None:
                return read_manifest(digest, sealed)
        except ProtocolError as e:
            raise AgentError(Code.DIGEST_MISMATCH, f"the manifest of {digest} is damaged: {e}") from e
        raise AgentError(Code.DIGEST_MISMATCH, f"artifact {digest} is not on the disk")

    def holds(self, digest: str) -> bool:
        """Whether the artifact lies whole and unharmed on the disk. Hashes all of it."""
        try:
            self.complete(digest).check_files(self.manifest(digest))
        except AgentError:
            return False
        return True

    def reopen(self, digest: str) -> ArtifactFolder:
        """The partial folder to fetch into, with whatever a damaged complete folder still holds."""
        complete, partial = self.complete(digest), self.partial(digest)
        if complete.path.is_dir():
            self._disk.remove(partial.path)
            self._disk.rename(complete.path, partial.path)
        # A power cut may have kept the manifest, by which a fetch is resumed, and taken the folder beside it.
        self._disk.make_directory(partial.path / "files")
        return partial

    def finish(self, digest: str, manifest: ArtifactManifest) -> None:
        """Check a partial folder and put it in its place, durably.

        Raises:
            AgentError: `DigestMismatch` when a file isn't what the manifest says.
        """
        folder = self.partial(digest)
        folder.check_files(manifest)
        folder.sync(manifest)
        self._disk.remove(self.complete(digest).path)
        self._disk.rename(folder.path, self.complete(digest).path)

    def room_for(self, size: int) -> None:
        """Raise when `size` bytes more don't fit.

        Raises:
            AgentError: `DiskFull`, with both numbers.
        """
        free = self._disk.free_bytes(self._root) - SPARE_BYTES
        if size > free:
            raise AgentError(Code.DISK_FULL, f"the artifact needs {size} bytes; {max(free, 0)} are free")

    def collect(self, keep: frozenset[str]) -> None:
        """Remove every folder whose digest isn't in `keep`."""
        kept = {digest_hex(d) for d in keep}
        for path in self._disk.list(self._root):
            if path.name.removesuffix(".partial") not in kept:
                self._disk.remove(path)
