"""DirectoryBlobs on a real disk: what is named is whole, whatever happens."""

import asyncio
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.artifacts.errors import (
    BlobCorruptError,
    BlobEmptyError,
    BlobNotFoundError,
    BlobTooLargeError,
    StorageFullError,
)

ABSENT = "sha256:" + "0" * 64


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def content_files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file())


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


async def test_a_blob_comes_back_as_it_was_put(blobs: DirectoryBlobs) -> None:
    digest = await blobs.put(b"content")
    assert await blobs.get(digest) == b"content"
    assert await blobs.size(digest) == 7


async def test_a_blob_lies_read_only_under_its_own_hash(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    digest = await blobs.put(b"content")
    path = await blobs.local_path(digest)
    name = digest.removeprefix("sha256:")
    assert path == tmp_path / "blobs" / name[:2] / name
    assert path.stat().st_mode & 0o777 == 0o444


async def test_a_stream_has_the_digest_of_its_whole(blobs: DirectoryBlobs) -> None:
    assert await blobs.put_stream(pieces(b"con", b"tent"), max_bytes=7) == (await blobs.put(b"content"), 7)


async def test_a_file_that_is_taken_over_is_a_blob_and_gone_from_its_place(
    blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    digest = await blobs.put(b"content")
    await blobs.delete(digest)
    for _ in range(2):
        (tmp_path / "file").write_bytes(b"content")
        await blobs.adopt(tmp_path / "file", digest)
        assert await blobs.get(digest) == b"content"
        assert content_files(tmp_path) == [await blobs.local_path(digest)]
    assert (await blobs.local_path(digest)).stat().st_mode & 0o777 == 0o444


async def test_a_file_from_another_disk_is_copied(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    digest = await blobs.put(b"content")
    await blobs.delete(digest)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        path = Path(elsewhere) / "file"
        path.write_bytes(b"content")
        await blobs.adopt(path, digest)
        assert not path.exists()
        path.write_bytes(b"other")
        with pytest.raises(BlobCorruptError):
            await blobs.adopt(path, ABSENT)
    assert await blobs.get(digest) == b"content"


async def test_a_stream_past_its_limit_leaves_nothing(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    with pytest.raises(BlobTooLargeError, match="more than 6 bytes"):
        await blobs.put_stream(pieces(b"con", b"tent"), max_bytes=6)
    assert content_files(tmp_path) == []


async def test_an_empty_stream_is_refused(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    with pytest.raises(BlobEmptyError, match="0 bytes"):
        await blobs.put_stream(pieces(), max_bytes=6)
    assert content_files(tmp_path) == []


async def test_a_stream_that_breaks_off_leaves_nothing(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put_stream(broken(), max_bytes=100)
    assert content_files(tmp_path) == []


async def test_a_cancelled_upload_leaves_nothing(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        begun.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(blobs.put_stream(endless(), max_bytes=100))
    await begun.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert content_files(tmp_path) == []


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, None, b"content"), (3, 5, b"te"), (5, 99, b"nt"), (7, 9, b""), (3, 2, b"")]
)
async def test_a_range_is_streamed(blobs: DirectoryBlobs, start: int, end: int | None, expected: bytes) -> None:
    digest = await blobs.put(b"content")
    assert b"".join([p async for p in blobs.stream(digest, start, end)]) == expected


async def test_what_is_not_there_is_named(blobs: DirectoryBlobs) -> None:
    assert await blobs.size(ABSENT) is None
    await blobs.delete(ABSENT)
    for attempt in (blobs.get(ABSENT), blobs.local_path(ABSENT), anext(blobs.stream(ABSENT))):
        with pytest.raises(BlobNotFoundError, match=ABSENT):
            await attempt


async def test_a_deleted_blob_is_gone(blobs: DirectoryBlobs) -> None:
    digest = await blobs.put(b"content")
    await blobs.delete(digest)
    assert await blobs.size(digest) is None


@pytest.mark.parametrize("damaged", [b"", b"con", b"Content"])
async def test_a_damaged_blob_is_never_handed_out(blobs: DirectoryBlobs, damaged: bytes) -> None:
    digest = await blobs.put(b"content")
    overwrite(await blobs.local_path(digest), damaged)
    with pytest.raises(BlobCorruptError, match="damaged"):
        await blobs.get(digest)
    with pytest.raises(BlobCorruptError, match="damaged"):
        await blobs.local_path(digest)


async def test_putting_a_damaged_blob_again_repairs_it(blobs: DirectoryBlobs) -> None:
    digest = await blobs.put(b"content")
    overwrite(await blobs.local_path(digest), b"Content")
    assert await blobs.put(b"content") == digest
    assert await blobs.get(digest) == b"content"


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


async def test_a_file_that_did_not_change_is_hashed_once(
    blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await DirectoryBlobs.put(blobs, b"content")
    fresh = DirectoryBlobs(blobs._root)
    await fresh.local_path(digest)

    def hashed_again(*_: object) -> None:
        pytest.fail("hashed again")

    monkeypatch.setattr("hashlib.file_digest", hashed_again)
    await fresh.local_path(digest)


async def test_twenty_writers_of_one_blob_agree(blobs: DirectoryBlobs, tmp_path: Path) -> None:
    digests = await asyncio.gather(*(blobs.put(b"content") for _ in range(20)))
    assert len(set(digests)) == 1
    assert len(content_files(tmp_path)) == 1


_KILLED = """
    import asyncio, os, sys
    from pathlib import Path
    from litefleet_controller.artifacts.directory import DirectoryBlobs
    blobs = DirectoryBlobs(Path(sys.argv[1]))
    left = int(sys.argv[2])
    def dying(real):
        def call(*args, **kwargs):
            global left
            left -= 1
            if left < 0:
                os._exit(9)
            return real(*args, **kwargs)
        return call
    for place, name in ((os, "open"), (os, "fsync"), (Path, "replace"), (Path, "mkdir")):
        setattr(place, name, dying(getattr(place, name)))
    asyncio.run(blobs.put(b"content" * 10_000))
"""


@pytest.mark.parametrize("operations", range(8))
async def test_a_kill_between_any_two_operations_leaves_all_or_nothing(tmp_path: Path, operations: int) -> None:
    root = tmp_path / "blobs"
    code = run_python(_KILLED, str(root), str(operations)).returncode
    blobs = DirectoryBlobs(root)
    assert list((root / "tmp").iterdir()) == []
    files = content_files(root)
    assert code == 9 or len(files) == 1
    for file in files:
        assert await blobs.get(f"sha256:{file.name}") == b"content" * 10_000


_FULL = """
    import asyncio, resource, sys
    from pathlib import Path
    from litefleet_controller.artifacts.directory import DirectoryBlobs
    from litefleet_controller.artifacts.errors import StorageFullError
    blobs = DirectoryBlobs(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    async def parts():
        for _ in range(3):
            yield b"x" * 3000
    for attempt in (lambda: blobs.put(b"x" * 5000), lambda: blobs.put_stream(parts(), max_bytes=10_000)):
        try:
            asyncio.run(attempt())
        except StorageFullError as e:
            print(e)
    asyncio.run(blobs.put(b"small"))
"""


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_python(_FULL, str(tmp_path / "blobs"))
    assert done.stderr == ""
    assert done.stdout.count("no room under") == 2
    assert [f.stat().st_size for f in content_files(tmp_path)] == [5]


def test_no_space_on_the_device_is_storage_full(blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="No space left"):
        asyncio.run(blobs.put(b"content"))


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
