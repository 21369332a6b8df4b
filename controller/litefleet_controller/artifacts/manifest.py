"""Artifacts: a model and its golden samples, cut into chunks, described by a manifest that the fleet's key signed.

A manifest is named by the SHA-256 of its encoded bytes, so the same variant of the same version is the same artifact.
Envelopes are signed once, when an artifact is published: signing whatever blob somebody asks for by its digest would
lend the fleet's key to anyone who can upload a file. Callers are the ModelVersion reconciler (publish) and delivery.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from litefleet_controller.artifacts.durable import write_file
from litefleet_controller.artifacts.errors import ArtifactNotFoundError, BlobCorruptError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_protocol.chunks import check_manifest, chunk_hash, chunk_range, cut
from litefleet_protocol.codec import decode, encode
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType, Signer, seal
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import CHUNK_BYTES, MAX_GOLDEN_BYTES, MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactFile, ArtifactManifest
from litefleet_protocol.names import digest_hex
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature

_PIECE_BYTES = 1024 * 1024
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose artifact it is."""

    namespace: str
    model: str
    version: str
    device_class: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a conversion made, as far as an artifact is concerned."""

    recipe: str
    files: tuple[tuple[str, str], ...]
    """The model's files by name and digest, in the order that boards get them."""
    golden: str
    """Digest of the golden samples blob."""
    golden_tolerance: float
    """For every output, unless `golden_tolerances` has one for each."""
    signature: Signature
    arena_bytes: int | None = None
    runtime: str = "litert"
    """The engine that runs it."""
    golden_tolerances: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """One file of an artifact to be: its content as byte strings of any length."""

    name: str
    digest: str
    pieces: Iterable[bytes]


def build_manifest(
    identity: Identity, content: Content, files: Sequence[File], preprocess: Preprocess, postprocess: Postprocess
) -> ArtifactManifest:
    """Cut `files`, in this order, into chunks and describe them.

    Raises:
        ProtocolError: `Empty` or `TooLarge`.
    """
    sizes = [0] * len(files)

    def counted() -> Iterator[bytes]:
        for index, file in enumerate(files):
            for piece in file.pieces:
                sizes[index] += len(piece)
                yield piece

    hashes = tuple(chunk_hash(chunk) for chunk in cut(counted()))
    manifest = ArtifactManifest(
        namespace=identity.namespace,
        model=identity.model,
        version=identity.version,
        device_class=identity.device_class,
        variant=content.recipe,
        runtime=content.runtime,
        files=tuple(
            ArtifactFile(name=f.name, digest=f.digest, size=size) for f, size in zip(files, sizes, strict=True)
        ),
        chunk_bytes=CHUNK_BYTES,
        chunks=hashes,
        signature=content.signature,
        preprocess=preprocess,
        postprocess=postprocess,
        golden_tolerance=content.golden_tolerance,
        golden_tolerances=content.golden_tolerances or UNSET,
        arena_bytes=content.arena_bytes,
    )
    check_manifest(manifest)
    return manifest


class ArtifactStore:
    """Publishes artifacts and answers for those that were published."""

    def __init__(self, blobs: Blobs, signer: Signer, index: Path) -> None:
        """Keep content in `blobs`; `index` is a folder with one small file an artifact, which names its envelope."""
        self._blobs = blobs
        self._signer = signer
        self._index = index
        self._manifests: OrderedDict[str, ArtifactManifest] = OrderedDict()
        index.mkdir(parents=True, exist_ok=True)

    async def publish(
        self,
        *,
        namespace: str,
        model: str,
        version: str,
        device_class: str,
        made: Content,
        preprocess: Preprocess,
        postprocess: Postprocess,
    ) -> str:
        """Describe, sign and keep an artifact; the digest of its manifest. The same inputs give the same digest.

        Raises: BlobNotFoundError, BlobCorruptError, StorageFullError, ProtocolError (`TooLarge`, `Empty`).
        """
        golden_size = await self._blobs.size(made.golden) or 0
        if golden_size > MAX_GOLDEN_BYTES:
            raise ProtocolError(
                Code.TOO_LARGE, f"golden samples of {golden_size} bytes; the limit is {MAX_GOLDEN_BYTES}"
            )
        files = [
            File(name, digest, _pieces(await self._blobs.local_path(digest)))
            for name, digest in (*made.files, (GOLDEN_FILE, made.golden))
        ]
        identity = Identity(namespace, model, version, device_class)
        manifest = await asyncio.to_thread(build_manifest, identity, made, files, preprocess, postprocess)
        payload = encode(manifest)
        digest = await self._blobs.put(payload)
        envelope = await self._blobs.put(seal(PayloadType.ARTIFACT, payload, [self._signer]))
        await asyncio.to_thread(write_file, self._index / digest_hex(digest), envelope.encode())
        return digest

    async def envelope(self, digest: str) -> bytes:
        """The signed manifest, as devices get it.

        Raises: ArtifactNotFoundError, BlobNotFoundError, BlobCorruptError.
        """
        try:
            named = await asyncio.to_thread((self._index / digest_hex(digest)).read_text)
        except FileNotFoundError as e:
            raise ArtifactNotFoundError(digest) from e
        return await self._blobs.get(named)

    async def manifest(self, digest: str) -> ArtifactManifest:
        """The manifest itself.

        Raises: ArtifactNotFoundError, BlobNotFoundError, BlobCorruptError.
        """
        if (known := self._manifests.get(digest)) is not None:
            self._manifests.move_to_end(digest)
            return known
        if not await asyncio.to_thread((self._index / digest_hex(digest)).is_file):
            raise ArtifactNotFoundError(digest)
        manifest = decode(ArtifactManifest, await self._blobs.get(digest), max_bytes=MAX_MANIFEST_BYTES)
        self._manifests[digest] = manifest
        if len(self._manifests) > _REMEMBERED:
            self._manifests.popitem(last=False)
        return manifest

    async def chunk(self, digest: str, index: int) -> bytes:
        """Chunk `index` of an artifact, its hash checked.

        Raises: ProtocolError (`BadChunk`), ArtifactNotFoundError, BlobNotFoundError, BlobCorruptError.
        """
        manifest = await self.manifest(digest)
        start, end = chunk_range(manifest, index)
        data = bytearray()
        base = 0
        for file in manifest.files:
            low, high = max(start, base), min(end, base + file.size)
            if low < high:
                async for piece in self._blobs.stream(file.digest, low - base, high - base):
                    data += piece
            base += file.size
        chunk = bytes(data)
        if chunk_hash(chunk) != manifest.chunks[index]:
            for file in manifest.files:
                await self._blobs.get(file.digest)  # says which file is damaged
            raise BlobCorruptError(digest)
        return chunk


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
