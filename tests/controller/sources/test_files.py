"""Files of the controller's own machine: from folders that were opened, and from nowhere else."""

import hashlib
import os
from pathlib import Path

import pytest

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.sources.fetcher import BlobFetcher
from litefleet_controller.sources.interface import Fetching, SourceError, Wanted
from litefleet_controller.sources.policy import SourcePolicy

SHA = f"sha256:{hashlib.sha256(b'model').hexdigest()}"


class Shelf:
    def __init__(self, folder: Path, max_bytes: int = 1000) -> None:
        self.folder = folder / "shelf"
        self.folder.mkdir()
        (self.folder / "m.keras").write_bytes(b"model")
        self.blobs = DirectoryBlobs(folder / "blobs")
        policy = SourcePolicy(folders=(self.folder,), max_bytes=max_bytes)
        self.fetcher = BlobFetcher(self.blobs, folder / "sources", policy)

    async def code(self, path: Path, digest: str | None = None) -> str:
        with pytest.raises(SourceError) as refused:
            await self.fetcher.fetch(Wanted(f"file://{path}", digest), lambda _: None)
        return refused.value.code


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def test_a_file_of_an_opened_folder_becomes_a_blob(shelf: Shelf) -> None:
    told: list[Fetching] = []
    got = await shelf.fetcher.fetch(Wanted(f"file://{shelf.folder}/m.keras", SHA), told.append)
    assert (got.digest, got.size, told) == (SHA, 5, [Fetching(5)])
    assert await shelf.blobs.get(SHA) == b"model"


async def test_a_file_of_another_folder_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "shelf-too").mkdir()
    (tmp_path / "shelf-too" / "m").write_bytes(b"x")
    assert await shelf.code(tmp_path / "shelf-too" / "m") == "FileNotAllowed"
    assert await shelf.code(Path("/etc/passwd")) == "FileNotAllowed"


@pytest.mark.parametrize("inner", [True, False])
async def test_a_link_out_of_the_folder_is_refused(shelf: Shelf, tmp_path: Path, inner: bool) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "m").write_bytes(b"secret")
    if inner:
        (shelf.folder / "link").symlink_to(tmp_path / "secret")
        assert await shelf.code(shelf.folder / "link" / "m") == "FileNotAllowed"
    else:
        (shelf.folder / "link").symlink_to(tmp_path / "secret" / "m")
        assert await shelf.code(shelf.folder / "link") == "FileNotAllowed"


async def test_what_is_no_plain_file_is_refused_at_once(shelf: Shelf) -> None:
    os.mkfifo(shelf.folder / "pipe")
    assert await shelf.code(shelf.folder / "pipe") == "NotAFile"
    (shelf.folder / "folder").mkdir()
    assert await shelf.code(shelf.folder / "folder") == "NotAFile"


async def test_a_file_that_is_not_there_is_said(shelf: Shelf) -> None:
    assert await shelf.code(shelf.folder / "none") == "NotFound"
    assert await shelf.code(shelf.folder / "m.keras" / "none") == "NotFound"


async def test_what_is_empty_too_large_or_another_file_is_not_kept(shelf: Shelf) -> None:
    (shelf.folder / "empty").touch()
    assert await shelf.code(shelf.folder / "empty") == "Empty"
    (shelf.folder / "large").write_bytes(bytes(1001))
    assert await shelf.code(shelf.folder / "large") == "TooLarge"
    assert await shelf.code(shelf.folder / "m.keras", f"sha256:{'0' * 64}") == "DigestMismatch"
    assert await shelf.blobs.size(SHA) is None


async def test_a_uri_that_was_not_pushed_is_said(shelf: Shelf) -> None:
    with pytest.raises(SourceError, match="nothing was pushed"):
        await shelf.fetcher.fetch(Wanted(f"blob://{SHA}"), lambda _: None)
