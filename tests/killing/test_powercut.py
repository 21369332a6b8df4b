"""What a power cut leaves of operations that were synced, and of those that were not."""

from pathlib import Path

import pytest

from tests.killing.powercut import PAGE, Disk
from tests.killing.trace import Operation

WRITE = Operation("write", "d/new", data=b"new")
RENAME = Operation("rename", "d/file", "d/new")
MADE = [Operation("open", "d/new", "create"), WRITE]
SYNC_FILE, SYNC_DIRECTORY = Operation("fsync", "d/new"), Operation("fsync", "d")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "before" / "d").mkdir(parents=True)
    (tmp_path / "before" / "d" / "file").write_bytes(b"old")
    return tmp_path


def left(folder: Path, operations, seed=None) -> dict[str, bytes]:
    disk = Disk(folder / "before")
    disk.replay(operations)
    after = folder / f"after-{seed}"
    disk.after_power_cut(after, seed)
    return {path.name: path.read_bytes() for path in (after / "d").iterdir()}


def test_nothing_unsynced_is_certain(folder):
    assert left(folder, [*MADE, RENAME]) == {"file": b"old"}


def test_synced_file_without_its_synced_name_is_lost(folder):
    assert left(folder, [*MADE, SYNC_FILE, RENAME]) == {"file": b"old"}


def test_synced_name_of_an_unsynced_file_is_an_empty_file(folder):
    assert left(folder, [*MADE, RENAME, SYNC_DIRECTORY]) == {"file": b""}


def test_what_was_synced_in_order_is_there(folder):
    assert left(folder, [*MADE, SYNC_FILE, RENAME, SYNC_DIRECTORY]) == {"file": b"new"}


def test_removal_comes_back_until_its_directory_is_synced(folder):
    remove = Operation("remove", "d/file")
    assert left(folder, [remove]) == {"file": b"old"}
    assert left(folder, [remove, SYNC_DIRECTORY], seed=1) == {}


def test_seeds_choose_among_old_new_and_torn(folder):
    pages = Operation("write", "d/new", data=b"1" * PAGE + b"2" * PAGE)
    operations = [
        Operation("open", "d/new", "create"),
        SYNC_FILE,
        RENAME,
        SYNC_DIRECTORY,
        Operation("write", "d/file", data=pages.data),
    ]
    found = {left(folder, operations, seed)["file"] for seed in range(60)}
    assert found == {b"", pages.data[:PAGE], b"\0" * PAGE + pages.data[PAGE:], pages.data}


def test_same_seed_leaves_the_same_disk(folder):
    disk = Disk(folder / "before")
    disk.replay([*MADE, RENAME])
    for name in ("one", "other"):
        disk.after_power_cut(folder / name, 7)
    assert [(p.name, p.read_bytes()) for p in (folder / "one" / "d").iterdir()] == [
        (p.name, p.read_bytes()) for p in (folder / "other" / "d").iterdir()
    ]


def test_truncation_is_undone_until_it_is_synced(folder):
    cut = Operation("truncate", "d/file", offset=1)
    assert left(folder, [cut]) == {"file": b"old"}
    assert left(folder, [cut, Operation("fsync", "d/file")], seed=2) == {"file": b"o"}


def test_rename_between_directories_is_refused(folder):
    with pytest.raises(NotImplementedError, match="from one directory to another"):
        left(folder, [Operation("rename", "d/e/file", "d/file")])
