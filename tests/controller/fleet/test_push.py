import gzip
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.artifacts.errors import StorageFullError
from litefleet_controller.fleet.errors import FleetError, UploadRefusedError
from litefleet_controller.fleet.formats import check_archive, check_head
from litefleet_controller.fleet.push import Uploads


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file.getvalue()


DATA = npz(x=np.zeros((5, 8, 8), np.uint8), y=np.arange(5))
KERAS = archive(**{"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"})


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def uploads(blobs: DirectoryBlobs, scratch: Path) -> Uploads:
    return Uploads(blobs, scratch=scratch, max_bytes=1_000_000)


SAVED = archive(**{"saved_model.pb": b"\x08\x01", "variables/variables.index": b"i"})
IMAGES = archive(**{"cat/1.jpg": b"\xff\xd8", "dog/1.png": b"\x89PNG"})


def tar(mode: str, **members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as made:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return file.getvalue()


PHOTOS = {"photos/cat/1.jpg": b"\xff\xd8" + os.urandom(3000), "photos/dog/1.jpg": b"\xff\xd8"}
LITE = b"\x20\x00\x00\x00TFL3" + bytes(100)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("digits.npz", DATA),
        ("digits.KERAS", KERAS),
        ("digits.zip", SAVED),
        ("digits.tflite", LITE),
        ("pets.zip", IMAGES),
        ("pets.tar", tar("w", **PHOTOS)),
        ("pets.tgz", tar("w:gz", **PHOTOS)),
        ("pets.tar.gz", tar("w:gz", **PHOTOS)),
    ],
)
async def test_a_sound_file_is_stored_under_its_hash(
    uploads: Uploads, blobs: DirectoryBlobs, name: str, data: bytes
) -> None:
    pushed = await uploads.push(pieces(data), name)
    assert pushed["uri"] == f"blob://{pushed['digest']}"
    assert pushed["size"] == len(data)
    assert await blobs.get(pushed["digest"]) == data


async def test_the_same_file_again_is_the_same_uri(uploads: Uploads) -> None:
    assert await uploads.push(pieces(DATA), "a.npz") == await uploads.push(pieces(DATA, 7), "b.npz")


BAD = {
    "nothing": ("a.npz", b"", "Empty"),
    "an HDF5 name": ("a.h5", KERAS, "FormatForbidden"),
    "HDF5 bytes under another name": ("a.keras", b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden"),
    "a pickle name": ("a.pkl", KERAS, "FormatForbidden"),
    "a pickle renamed to .keras": ("a.keras", pickle.dumps({"a": 1}), "FormatForbidden"),
    "a short pickle": ("a.keras", pickle.dumps(1), "FormatForbidden"),
    "an array of objects": ("a.npz", npz(x=np.array([{"a": 1}])), "FormatForbidden"),
    "a structure with objects": ("a.npz", npz(x=np.zeros(2, [("a", "O")])), "FormatForbidden"),
    "no known name": ("a.onnxx", KERAS, "FormatMismatch"),
    "an ONNX model": ("a.onnx", b"\x08\x08", "FormatUnsupported"),
    "no suffix": ("keras", KERAS, "FormatMismatch"),
    "text": ("a.npz", b"x,y\n1,2\n", "FormatMismatch"),
    "one byte": ("a.npz", b"P", "FormatMismatch"),
    "a cut archive": ("a.npz", DATA[:-40], "FormatMismatch"),
    "an archive of something else": ("a.npz", archive(readme=b"hello"), "FormatMismatch"),
    "a data set called a model": ("a.keras", DATA, "FormatMismatch"),
    "a zip of something else": ("a.zip", DATA, "FormatMismatch"),
    "a folder within the zip": ("a.zip", archive(**{"model/saved_model.pb": b""}), "FormatMismatch"),
    "a cut zip": ("a.zip", SAVED[:-40], "FormatMismatch"),
    "a SavedModel's graph alone": ("saved_model.pb", b"\x08\x01", "FormatMismatch"),
    "a member outside a SavedModel": ("a.zip", archive(**{"saved_model.pb": b"", "../x": b""}), "ArchiveUnsafe"),
    "a .tflite of zeros": ("a.tflite", bytes(100), "FormatMismatch"),
    "a .tflite of five bytes": ("a.tflite", LITE[:5], "FormatMismatch"),
    "a .keras called .tflite": ("a.tflite", KERAS, "FormatMismatch"),
    "a .tflite called .keras": ("a.keras", LITE, "FormatMismatch"),
    "an empty .tflite": ("a.tflite", b"", "Empty"),
    "a pickle renamed to .tflite": ("a.tflite", pickle.dumps({"a": 1}), "FormatForbidden"),
    "HDF5 renamed to .zip": ("a.zip", b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden"),
    "no arrays": ("a.npz", archive(), "FormatMismatch"),
    "a broken array": ("a.npz", archive(**{"x.npy": b"\x93NUMPY\x01\x00\xff"}), "FormatMismatch"),
    "a header that is code": ("a.npz", archive(**{"x.npy": b"\x93NUMPY\x01\x00\x09\x00__import__"}), "FormatMismatch"),
    "a member outside": ("a.npz", archive(**{"../x.npy": b""}), "ArchiveUnsafe"),
    "an absolute member": ("a.keras", archive(**{"/etc/x": b""}), "ArchiveUnsafe"),
    "a tar that is none": ("a.tar", bytes(1000), "FormatMismatch"),
    "a tar without gzip": ("a.tar.gz", tar("w", **PHOTOS), "FormatMismatch"),
    "a cut tar": ("a.tgz", tar("w:gz", **PHOTOS)[:60], "FormatMismatch"),
    "a tar without images": ("a.tar", tar("w", readme=b"hello"), "FormatMismatch"),
    "a tar with a member outside": ("a.tar", tar("w", **{"../cat/1.jpg": b"x"}), "ArchiveUnsafe"),
    "a gzip file": ("a.gz", gzip.compress(b"x"), "FormatMismatch"),
    "too much": ("a.npz", b"PK\x03\x04" + bytes(1_000_000), "TooLarge"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_file_is_refused_and_nothing_of_it_is_kept(
    uploads: Uploads, tmp_path: Path, scratch: Path, case: str
) -> None:
    name, data, code = BAD[case]
    with pytest.raises(FleetError) as refused:
        await uploads.push(pieces(data, 5 if len(data) < 10_000 else 60_000), name)
    assert refused.value.code == code
    assert [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == []
    assert list(scratch.iterdir()) == []


async def test_the_way_in_for_an_old_model_is_named(uploads: Uploads) -> None:
    with pytest.raises(UploadRefusedError) as refused:
        await uploads.push(pieces(b"x"), "model.h5")
    assert "litefleet model import-h5" in refused.value.hint


async def test_a_wrong_beginning_is_refused_before_the_rest_is_read(uploads: Uploads) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"not a zip file at all"
        raise AssertionError("read on")

    with pytest.raises(UploadRefusedError):
        await uploads.push(endless(), "a.npz")


async def test_a_broken_connection_leaves_nothing(uploads: Uploads, scratch: Path, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA[:100]
        raise ConnectionResetError

    # An OSError of the connection is not one of the disk.
    with pytest.raises(ConnectionResetError):
        await uploads.push(broken(), "a.npz")
    assert list(scratch.iterdir()) == []


async def test_a_full_disk_is_said_to_be_full(blobs: DirectoryBlobs, scratch: Path) -> None:
    uploads = Uploads(blobs, scratch=scratch)
    limit = __import__("resource")
    old = limit.getrlimit(limit.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit.setrlimit(limit.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(StorageFullError):
            await uploads.push(pieces(b"PK\x03\x04" + os.urandom(100_000)), "a.npz")
    finally:
        limit.setrlimit(limit.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


@given(
    st.binary(max_size=300),
    st.sampled_from([DATA, KERAS, SAVED, LITE]),
    st.sampled_from(["a.npz", "a.keras", "a.zip", "a.tflite"]),
    st.data(),
)
def test_any_bytes_get_an_answer_and_no_other_exception(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, sound: bytes, name: str, draw: st.DataObject
) -> None:
    at = draw.draw(st.integers(0, len(sound)))
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(sound[:at] + noise + sound[at + len(noise) :])
    try:
        check_head(name, path.read_bytes()[:16])
        check_archive(name, path)
    except UploadRefusedError as e:
        assert e.code
