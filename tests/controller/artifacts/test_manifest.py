"""Artifacts: built from blobs, signed once, cut into the chunks that the manifest lists."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.artifacts.errors import ArtifactNotFoundError, BlobCorruptError
from litefleet_controller.artifacts.manifest import ArtifactStore, Content, File, Identity, build_manifest
from litefleet_protocol.chunks import check_chunk, check_manifest
from litefleet_protocol.codec import decode
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType, unseal
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import CHUNK_BYTES, MAX_GOLDEN_BYTES, MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature, TensorSpec

MODEL = bytes(range(256)) * 700
GOLDEN = b"golden" * 1000
SIGNATURE = Signature(
    inputs=(TensorSpec(name="input", shape=(1, 8, 8, 1), dtype="float32"),),
    outputs=(TensorSpec(name="output", shape=(1, 10), dtype="float32"),),
)


class HashSigner:
    """A signer whose signatures anybody can make: enough to see what was signed."""

    key_id = "a" * 64

    def sign(self, data: bytes) -> bytes:
        return hashlib.sha512(data).digest()

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        return key_id == self.key_id and signature == self.sign(data)


class Shelf:
    """An ArtifactStore with its blobs."""

    def __init__(self, root: Path) -> None:
        self.blobs = DirectoryBlobs(root / "blobs")
        self.index = root / "artifacts"
        self.signer = HashSigner()
        self.store = ArtifactStore(self.blobs, self.signer, self.index)

    async def publish(self, version: str = "digits-v1", golden: bytes = GOLDEN) -> str:
        files = (("model.tflite", await self.blobs.put(MODEL)),)
        content = Content("float32", files, await self.blobs.put(golden), 1e-3, SIGNATURE, 24_576)
        return await self.store.publish(
            namespace="default",
            model="digits",
            version=version,
            device_class="pi",
            made=content,
            preprocess=Preprocess(scale=1 / 16),
            postprocess=Postprocess(labels=("zero", "one")),
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def test_an_artifact_is_named_by_the_hash_of_the_payload_that_was_signed(shelf: Shelf) -> None:
    digest = await shelf.publish()
    payload = unseal(
        PayloadType.ARTIFACT, await shelf.store.envelope(digest), shelf.signer, max_bytes=MAX_MANIFEST_BYTES
    )
    assert digest == f"sha256:{hashlib.sha256(payload).hexdigest()}"
    assert decode(ArtifactManifest, payload, max_bytes=MAX_MANIFEST_BYTES) == await shelf.store.manifest(digest)


async def test_the_manifest_tells_what_a_board_needs(shelf: Shelf) -> None:
    manifest = await shelf.store.manifest(await shelf.publish())
    check_manifest(manifest)
    assert [(f.name, f.size) for f in manifest.files] == [("model.tflite", len(MODEL)), ("golden.npz", len(GOLDEN))]
    assert (manifest.namespace, manifest.version, manifest.device_class) == ("default", "digits-v1", "pi")
    assert (manifest.variant, manifest.arena_bytes, manifest.preprocess.scale) == ("float32", 24_576, 1 / 16)


async def test_chunks_put_together_are_the_files(shelf: Shelf) -> None:
    digest = await shelf.publish()
    manifest = await shelf.store.manifest(digest)
    chunks = [await shelf.store.chunk(digest, i) for i in range(len(manifest.chunks))]
    for index, chunk in enumerate(chunks):
        check_chunk(manifest, index, chunk)
    assert b"".join(chunks) == MODEL + GOLDEN


async def test_the_same_inputs_give_the_same_artifact(shelf: Shelf) -> None:
    assert await shelf.publish() == await shelf.publish()


async def test_manifests_keep_the_names_that_boards_in_the_field_know_them_by(shelf: Shelf) -> None:
    """Computed with the first version that published: other bytes would have every board fetch what it has."""
    assert await shelf.publish() == "sha256:910de622de35fad38839813e38998d37e32ab8bd8cb4602970e601eecb0002e2"


async def test_a_model_of_two_files_is_cut_in_their_order(shelf: Shelf) -> None:
    files = (("model.xml", await shelf.blobs.put(b"<net/>")), ("model.bin", await shelf.blobs.put(MODEL)))
    content = Content("openvino-float16", files, await shelf.blobs.put(GOLDEN), 1e-3, SIGNATURE, runtime="openvino")
    digest = await shelf.store.publish(
        namespace="default", model="digits", version="digits-v1", device_class="pi", made=content,
        preprocess=Preprocess(), postprocess=Postprocess(),
    )  # fmt: skip
    manifest = await shelf.store.manifest(digest)
    assert (manifest.runtime, manifest.arena_bytes) == ("openvino", None)
    assert [f.name for f in manifest.files] == ["model.xml", "model.bin", "golden.npz"]
    assert (
        b"".join([await shelf.store.chunk(digest, i) for i in range(len(manifest.chunks))])
        == b"<net/>" + MODEL + GOLDEN
    )


async def test_another_version_of_the_same_files_is_another_artifact(shelf: Shelf) -> None:
    assert await shelf.publish("digits-v1") != await shelf.publish("digits-v2")


async def test_artifacts_outlive_the_process(shelf: Shelf, tmp_path: Path) -> None:
    digest = await shelf.publish()
    later = Shelf(tmp_path)
    assert await later.store.envelope(digest) == await shelf.store.envelope(digest)
    assert await later.store.chunk(digest, 0) == MODEL[:CHUNK_BYTES]


async def test_a_blob_that_looks_like_a_manifest_is_no_artifact(shelf: Shelf) -> None:
    published = await shelf.store.manifest(await shelf.publish())
    forged = await shelf.blobs.put(b'{"v":"1.0","namespace":"evil"}')
    for ask in (shelf.store.envelope, shelf.store.manifest):
        with pytest.raises(ArtifactNotFoundError, match=forged):
            await ask(forged)
    with pytest.raises(ArtifactNotFoundError):
        await shelf.store.chunk(published.files[0].digest, 0)


async def test_a_chunk_out_of_range_is_refused(shelf: Shelf) -> None:
    digest = await shelf.publish()
    for index in (-1, 3, 2**40):
        with pytest.raises(ProtocolError) as refused:
            await shelf.store.chunk(digest, index)
        assert refused.value.code == Code.BAD_CHUNK


async def test_a_damaged_file_is_named_and_never_published(shelf: Shelf) -> None:
    digest = await shelf.publish()
    path = await shelf.blobs.local_path(await shelf.blobs.put(MODEL))
    path.chmod(0o644)
    path.write_bytes(MODEL[:-1] + b"?")
    index = (len(MODEL) - 1) // CHUNK_BYTES
    with pytest.raises(BlobCorruptError, match=hashlib.sha256(MODEL).hexdigest()):
        await shelf.store.chunk(digest, index)


async def test_golden_samples_past_the_limit_are_refused(shelf: Shelf) -> None:
    with pytest.raises(ProtocolError) as refused:
        await shelf.publish(golden=b"x" * (MAX_GOLDEN_BYTES + 1))
    assert refused.value.code == Code.TOO_LARGE
    assert str(MAX_GOLDEN_BYTES) in str(refused.value)


def manifest_of(*contents: list[bytes]) -> ArtifactManifest:
    digest = "sha256:" + "0" * 64
    files = [File(f"file{i}", digest, parts) for i, parts in enumerate(contents)]
    content = Content("float32", (("model.tflite", digest),), digest, 1e-3, SIGNATURE)
    return build_manifest(Identity("ns", "m", "m-v1", "pi"), content, files, Preprocess(), Postprocess())


@given(st.lists(st.lists(st.integers(1, 90_000), min_size=1, max_size=4), min_size=1, max_size=3))
def test_however_files_are_read_their_manifest_is_consistent(sizes: list[list[int]]) -> None:
    contents = [[bytes(n) for n in lengths] for lengths in sizes]
    manifest = manifest_of(*contents)
    check_manifest(manifest)
    assert [f.size for f in manifest.files] == [sum(lengths) for lengths in sizes]
    assert manifest == manifest_of(*[[b"".join(parts)] for parts in contents])


def test_an_artifact_without_content_is_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        manifest_of([])
    assert refused.value.code == Code.EMPTY
