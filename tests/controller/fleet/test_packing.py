"""A SavedModel's folder as one file that is the same whenever and wherever it is packed."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from litefleet_controller.fleet.errors import UploadRefusedError
from litefleet_controller.fleet.packing import pack_folder

FILES = {
    "saved_model.pb": b"graph",
    "fingerprint.pb": b"f",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"data",
    "assets/words/en.txt": b"a",
}


def folder(where: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return where


def packed(where: Path) -> bytes:
    file = io.BytesIO()
    pack_folder(where, file)
    return file.getvalue()


def test_all_of_a_saved_model_is_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(folder(tmp_path)))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES


def test_the_same_content_is_the_same_bytes_whenever_and_wherever(tmp_path: Path) -> None:
    one = folder(tmp_path / "one")
    other = folder(tmp_path / "other", dict(reversed(FILES.items())))
    (other / "saved_model.pb").chmod(0o600)
    os.utime(other / "saved_model.pb", (0, 0))
    assert packed(one) == packed(other)


def test_what_is_no_part_of_a_saved_model_stays_out(tmp_path: Path) -> None:
    plain = packed(folder(tmp_path))
    folder(tmp_path, {".DS_Store": b"x", "notes.txt": b"x", "variables/.index.swp": b"x", "assets/.DS_Store": b"x"})
    assert packed(tmp_path) == plain


@pytest.mark.parametrize("link", ["saved_model.pb", "variables", "assets/words.txt"])
def test_a_symbolic_link_is_refused_by_its_name(tmp_path: Path, link: str) -> None:
    (tmp_path / "model").mkdir()
    where = folder(tmp_path / "model", {k: v for k, v in FILES.items() if not k.startswith("variables")})
    target = tmp_path / "elsewhere"
    target.write_bytes(b"x")
    (where / link).unlink(missing_ok=True)
    (where / link).symlink_to(target)
    with pytest.raises(UploadRefusedError, match=link) as refused:
        packed(where)
    assert refused.value.code == "ArchiveUnsafe"


IMAGES = {"cat/1.jpg": b"a", "cat/2.JPG": b"b", "dog/1.png": b"c", "dog/old/2.webp": b"d"}


def test_all_images_of_a_folder_are_packed_and_counted(tmp_path: Path) -> None:
    more = {
        "cat/.DS_Store": b"x",
        "cat/Thumbs.db": b"x",
        ".git/x.png": b"x",
        "__MACOSX/cat/1.jpg": b"x",
        "LICENSE": b"x",
    }
    file = io.BytesIO()
    assert pack_folder(folder(tmp_path, IMAGES | more), file) == {"cat": 2, "dog": 2}
    with zipfile.ZipFile(file) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == IMAGES
    assert packed(folder(tmp_path / "again", IMAGES)) == file.getvalue()


def test_a_link_among_images_is_refused_by_its_name(tmp_path: Path) -> None:
    (folder(tmp_path, IMAGES) / "cat" / "3.jpg").symlink_to("/etc/passwd")
    with pytest.raises(UploadRefusedError, match=r"cat/3\.jpg"):
        packed(tmp_path)


def test_a_folder_with_neither_a_graph_nor_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UploadRefusedError, match=r"neither saved_model\.pb nor images") as refused:
        packed(tmp_path)
    assert refused.value.code == "FormatMismatch"
    assert "model.export" in refused.value.hint
