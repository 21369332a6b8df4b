"""However an artifact is cut and in whatever order its chunks arrive, it is put together as it was, or refused."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol import chunks
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import ArtifactFile, ArtifactManifest
from litefleet_protocol.tensors import Signature


def manifest_of(files: dict[str, bytes], chunk_bytes: int) -> tuple[ArtifactManifest, list[bytes]]:
    cut = list(chunks.cut(files.values(), chunk_bytes))
    return (
        ArtifactManifest(
            namespace="default", model="m", version="m-v1", device_class="c", variant="float32",
            files=tuple(
                ArtifactFile(name=n, digest=f"sha256:{hashlib.sha256(d).hexdigest()}", size=len(d)) for n, d in files.items()
            ),
            chunk_bytes=chunk_bytes, chunks=tuple(chunks.chunk_hash(c) for c in cut), signature=Signature(inputs=(), outputs=()),
        ),
        cut,
    )  # fmt: skip


contents = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3).map(
    lambda parts: {f"file{i}": p for i, p in enumerate(parts)}
)


@given(contents, st.integers(1, 100), st.randoms(use_true_random=False))
def test_chunks_in_any_order_make_the_artifact(files: dict[str, bytes], chunk_bytes: int, random) -> None:
    manifest, cut = manifest_of(files, chunk_bytes)
    chunks.check_manifest(manifest)
    assembled = bytearray(chunks.total_size(manifest))
    order = list(range(len(cut)))
    random.shuffle(order)
    for index in order:
        start, end = chunks.check_chunk(manifest, index, cut[index])
        assembled[start:end] = cut[index]
    assert bytes(assembled) == b"".join(files.values())


@given(contents, st.integers(1, 100), st.data())
def test_a_chunk_in_anothers_place_is_refused(files: dict[str, bytes], chunk_bytes: int, data: st.DataObject) -> None:
    manifest, cut = manifest_of(files, chunk_bytes)
    index = data.draw(st.integers(-2, len(cut) + 2))
    chunk = data.draw(st.sampled_from(cut) | st.binary(max_size=120))
    if 0 <= index < len(cut) and chunk == cut[index]:
        return
    with pytest.raises(ProtocolError) as e:
        chunks.check_chunk(manifest, index, chunk)
    assert e.value.code in {Code.BAD_CHUNK, Code.DIGEST_MISMATCH}


@given(st.integers(0, 200), st.sets(st.integers(0, 200)), st.integers(1, 20))
def test_missing_are_the_lowest_that_are_not_held(total: int, held: set[int], window: int) -> None:
    found = chunks.missing(total, held, window)
    assert found == [i for i in range(total) if i not in held][:window]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"files": ()}, Code.EMPTY),
        ({"chunk_bytes": 0}, Code.BAD_MESSAGE),
        ({"chunk_bytes": 1 << 30}, Code.BAD_MESSAGE),
        ({"chunks": ()}, Code.BAD_MESSAGE),
        ({"chunks": ("zz",) * 4}, Code.BAD_MESSAGE),
        ({"chunks": ("0" * 64,) * 20_000}, Code.TOO_LARGE),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change: dict[str, object], code: Code) -> None:
    manifest, _ = manifest_of({"model.tflite": b"x" * 100}, 30)
    with pytest.raises(ProtocolError) as e:
        chunks.check_manifest(msgspec.structs.replace(manifest, **change))
    assert e.value.code == code


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x" * 65, "a\x00", "Ω"])
def test_a_file_name_that_is_a_path_is_refused(name: str) -> None:
    manifest, _ = manifest_of({name: b"x" * 10}, 30)
    with pytest.raises(ProtocolError):
        chunks.check_manifest(manifest)
