"""The pointer file and the artifact folders, killed at every single disk operation."""

from litefleet_agent.fileio import Disk
from litefleet_agent.slots import Slots
from litefleet_agent.state import Artifact, Pointers, Saved, SavedSlot

from .artifacts import make

A, B = (f"sha256:{letter * 64}" for letter in "ab")


class KilledError(Exception):
    """The process died here."""


class MortalDisk(Disk):
    """Dies before its n-th primitive operation."""

    def __init__(self, dies_at: int) -> None:
        super().__init__(self._count)
        self.left = dies_at

    def _count(self, operation, path):
        if self.left == 0:
            raise KilledError(f"{operation} {path.name}")
        self.left -= 1


def kill_everywhere(act):
    """Run `act(disk)` with a kill before each operation; yields after each kill, ends when it survives."""
    for n in range(200):
        try:
            act(MortalDisk(n))
        except KilledError:
            yield n
        else:
            assert n > 0
            return
    raise AssertionError("never survived")


def saved(current):
    return Saved(epoch=1, counter=2, slots={"digits": SavedSlot(current=Artifact(current), attempts={B: 1})})


def test_pointer_file_holds_the_old_or_the_new_state_after_any_kill(tmp_path):
    Pointers(Disk(), tmp_path).save(saved(A))
    seen = set()
    for _ in kill_everywhere(lambda disk: Pointers(disk, tmp_path).save(saved(B))):
        found = Pointers(Disk(), tmp_path).load()
        assert found in (saved(A), saved(B))
        seen.add(found.slots["digits"].current.digest)
    assert A in seen
    assert Pointers(Disk(), tmp_path).load() == saved(B)


def test_damaged_pointer_file_is_set_aside(tmp_path):
    (tmp_path / "state.json").write_bytes(b'{"epoch": ')
    assert Pointers(Disk(), tmp_path).load() == Saved()
    assert (tmp_path / "state.damaged").exists()


def fetch_whole(disk, tmp_path, made):
    """What the fetcher does to the disk, from nothing or from whatever an earlier run left."""
    slots = Slots(disk, tmp_path)
    if slots.holds(made.digest):
        return
    folder = slots.reopen(made.digest)
    if folder.sealed_manifest() is None:
        folder.keep_manifest(made.envelope)
    held = folder.held_chunks(made.manifest)
    for n, chunk in enumerate(made.chunks):
        if n not in held:
            folder.write_chunk(made.manifest, n * made.manifest.chunk_bytes, chunk)
    slots.finish(made.digest, made.manifest)


def test_artifact_is_whole_or_absent_after_any_kill(tmp_path, key):
    made = make(key, bytes(range(256)) * 20, b"golden" * 100, chunk_bytes=2048)
    kills = 0
    for n in range(200):
        folder = tmp_path / str(n)
        try:
            fetch_whole(MortalDisk(n), folder, made)
            break
        except KilledError:
            kills += 1
        slots = Slots(Disk(), folder)
        assert slots.complete(made.digest).path.is_dir() is slots.holds(made.digest)
        fetch_whole(Disk(), folder, made)
        assert slots.holds(made.digest)
    assert kills > 12


def test_fetch_that_is_killed_over_and_over_still_comes_to_its_end(tmp_path, key):
    made = make(key, bytes(range(256)) * 20, b"golden" * 100, chunk_bytes=2048)
    for _ in kill_everywhere(lambda disk: fetch_whole(disk, tmp_path, made)):
        complete = Slots(Disk(), tmp_path).complete(made.digest).path.is_dir()
        assert complete is Slots(Disk(), tmp_path).holds(made.digest)
    assert Slots(Disk(), tmp_path).holds(made.digest)


def test_fetch_comes_to_its_end_when_a_power_cut_kept_the_manifest_alone(tmp_path, key):
    made = make(key, bytes(range(256)) * 20, b"golden" * 100, chunk_bytes=2048)
    slots = Slots(Disk(), tmp_path)
    folder = slots.reopen(made.digest)
    folder.keep_manifest(made.envelope)
    (folder.path / "files").rmdir()
    fetch_whole(Disk(), tmp_path, made)
    assert slots.holds(made.digest)
