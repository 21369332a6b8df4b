"""Folders of images that somebody packed: decoded as a board does, or refused with the image that is wrong."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from litefleet_controller.convert.imagesets import is_folder_of_images
from litefleet_controller.convert.samples import decode as decoding
from litefleet_controller.convert.samples import imagearchive
from litefleet_controller.convert.samples.decode import decode
from litefleet_controller.convert.samples.preprocess import resized
from litefleet_controller.convert.workers.tasks import DATA_FILE, Decode, RungError
from litefleet_protocol.tensors import Preprocess

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLOUR = np.stack([GREY, GREY + 50, GREY + 100], axis=-1)


def image(pixels: np.ndarray = GREY, kind: str = "png", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def zipped(folder: Path, **members: bytes) -> Path:
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(folder: Path, mode: str, **members: bytes) -> Path:
    path = folder / "images.tar"
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def decoded(
    path: Path, *, labels: tuple[str, ...] = (), samples: int = 100, **preprocess: Any
) -> dict[str, np.ndarray]:
    task = Decode(
        folder=str(path.parent), archive=str(path), preprocess=Preprocess(**preprocess), labels=labels, samples=samples
    )
    decode(task, lambda *_: None)
    with np.load(path.parent / DATA_FILE) as data:
        return {name: data[name] for name in data}


def refusal(path: Path, **how: Any) -> str:
    with pytest.raises(RungError) as refused:
        decoded(path, **how)
    assert refused.value.code == "ImagesInvalid"
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_images_become_arrays_with_a_number_for_each_class(tmp_path: Path) -> None:
    data = decoded(zipped(tmp_path, **{"b/1.png": image(GREY + 1), "a/2.png": image(), "a/1.png": image(GREY + 2)}))
    assert data["x"].shape == (3, 8, 8)
    assert data["x"].dtype == np.uint8
    assert data["x"][:, 0, 0].tolist() == [2, 1, 0]
    assert data["y"].tolist() == [0, 1, 0]
    assert data["folders"].tolist() == [2]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_read_as_a_zip_is(tmp_path: Path, mode: str) -> None:
    data = decoded(tarred(tmp_path, mode, **{"./pets/dog/1.png": image(GREY + 1), "./pets/cat/1.png": image()}))
    assert data["x"][:, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("kind", "exact"), [("png", True), ("bmp", True), ("jpeg", False), ("webp", False)])
def test_each_format_is_decoded(tmp_path: Path, kind: str, exact: bool) -> None:
    name = {"jpeg": "a/1.jpg"}.get(kind, f"a/1.{kind}")
    x = decoded(zipped(tmp_path, **{name: image(COLOUR, kind)}))["x"]
    assert x.shape == (1, 8, 8, 3)
    assert np.abs(x[0].astype(int) - COLOUR).max() <= (0 if exact else 60)


def test_labels_number_the_folders_that_they_name(tmp_path: Path) -> None:
    path = zipped(tmp_path, **{"one/1.png": image(), "two/1.png": image(GREY + 1)})
    data = decoded(path, labels=("zero", "two", "one"))
    assert data["y"].tolist() == [2, 1]
    assert "folders" not in data
    assert "'two' is none of spec.output.labels" in refusal(path, labels=("zero", "one"))
    assert decoded(path, labels=("Z", "T"))["y"].tolist() == [0, 1]


def test_the_first_samples_are_of_all_classes(tmp_path: Path) -> None:
    members = {f"{c}/{i}.png": image() for c in "abc" for i in range(5)}
    assert decoded(zipped(tmp_path, **members), samples=4)["y"].tolist() == [0, 1, 2, 0]


def test_images_in_no_folder_have_no_class(tmp_path: Path) -> None:
    assert "y" not in decoded(zipped(tmp_path, **{"1.png": image(), "2.png": image()}))


def test_images_are_resized_as_a_board_does_it(tmp_path: Path) -> None:
    path = zipped(tmp_path, **{"a/1.png": image(COLOUR), "b/1.png": image(COLOUR[:4])})
    x = decoded(path, resize=(6, 5))["x"]
    assert x.shape == (2, 6, 5, 3)
    exact = resized(COLOUR[:4][np.newaxis].astype(np.float32), 6, 5)[0]
    assert np.abs(x[1] - exact).max() <= 0.5


def test_grey_and_coloured_images_go_together_when_channels_are_asked_for(tmp_path: Path) -> None:
    path = zipped(tmp_path, **{"a/1.png": image(COLOUR), "b/1.png": image(GREY)})
    assert decoded(path, channels=3)["x"].shape == (2, 8, 8, 3)
    assert "set spec.input.preprocess.channels" in refusal(path)


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    said = refusal(zipped(tmp_path, **{"a/1.png": image(), "b/1.png": image(GREY[:4])}))
    assert said == "'a/1.png' has 8x8 pixels and 'b/1.png' has 8x4: set spec.input.preprocess.resize"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (image()[:48], "can't be decoded"),
        (image(COLOUR, "jpeg")[:-200], "runcated"),
        (b"", "can't be decoded"),
        (b"hello", "cannot identify"),
        (image(COLOUR, "gif"), "cannot identify"),
        (image().replace(b"IHDR", b"IHDX"), "can't be decoded"),
    ],
    ids=("a cut png", "a cut jpeg", "nothing", "text", "a gif", "a png without a head"),
)
def test_a_broken_image_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    said = refusal(zipped(tmp_path, **{"a/0.png": image(), "a/1.png": data}))
    assert "a/1.png" in said
    assert says in said


def test_an_image_that_says_it_is_huge_is_not_decoded(tmp_path: Path) -> None:
    huge = bytearray(image())
    at = huge.index(b"IHDR") + 4
    huge[at : at + 8] = (20_000).to_bytes(4, "big") * 2
    import zlib

    huge[at + 13 : at + 17] = zlib.crc32(bytes(huge[at - 4 : at + 13])).to_bytes(4, "big")
    assert "pixels" in refusal(zipped(tmp_path, **{"a/1.png": bytes(huge)}))


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"readme.txt": b"x"}, "no images"),
        ({"1.png": image(), "a/1.png": image()}, "some beside them"),
        ({"../a/1.png": image()}, "outside its folder"),
        ({"/a/1.png": image()}, "outside its folder"),
    ],
)
def test_a_folder_that_is_none_is_refused(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    assert says in refusal(zipped(tmp_path, **members))


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("a/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert "a link" in refusal(path)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path, **{"a/1.png": bytes(200_000)})
    monkeypatch.setattr(imagearchive, "MAX_MEMBER_BYTES", 100_000)
    assert "the limit for one file is 100000" in refusal(path)
    monkeypatch.setattr(imagearchive, "MAX_MEMBER_BYTES", 10**9)
    monkeypatch.setattr(imagearchive, "MAX_CONTENT_BYTES", 100_000)
    assert "more than 100000 bytes" in refusal(path)
    monkeypatch.setattr(imagearchive, "MAX_CONTENT_BYTES", 10**9)
    monkeypatch.setattr(imagearchive, "MAX_MEMBERS", 0)
    assert "more than 0 members" in refusal(path)


def test_fewer_images_are_taken_where_all_would_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_DATA_BYTES", 64 * 3)
    members = {f"{c}/{i}.png": image() for c in "ab" for i in range(5)}
    assert decoded(zipped(tmp_path, **members))["y"].tolist() == [0, 1, 0]


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path, "w:gz", **{"a/1.png": image(), "b/1.png": np.random.default_rng(0).bytes(5000)})
    path.write_bytes(path.read_bytes()[:3000])
    assert "damaged" in refusal(path)


def test_arrays_and_images_are_told_apart_by_their_first_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY)
    np.savez_compressed(tmp_path / "b.npz", x=GREY)
    for name, images in (("a.npz", False), ("b.npz", False)):
        assert is_folder_of_images((tmp_path / name).read_bytes()[:512]) == images
    assert is_folder_of_images(zipped(tmp_path, **{"a/1.png": image()}).read_bytes()[:512])
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        assert is_folder_of_images(tarred(tmp_path, mode, **{"a/1.png": image()}).read_bytes()[:512])
    assert not is_folder_of_images(b"")
    assert not is_folder_of_images(b"x,y\n")
