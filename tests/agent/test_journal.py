"""The journal: bounded, readable whatever happened to its files, and never in the way."""

import errno
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litefleet_agent.fileio import Disk
from litefleet_agent.journal import MAX_LINE_BYTES, Journal, Moment, Position, entries_in, numbers_in
from litefleet_protocol.limits import MAX_LOG_FIELDS

NOON = Moment(1_772_000_000.0, 12.5, trusted=True)


class MoodyDisk(Disk):
    """Refuses to write when it is told to."""

    def __init__(self):
        self.code = 0
        super().__init__(self._refuse)

    def _refuse(self, operation, path):
        if self.code and operation in ("append_line", "mkdir", "write"):
            raise OSError(self.code, "refused", str(path))


def journal_in(folder, disk=None, boot="boot-1", file_bytes=512 * 1024):
    return Journal(disk or Disk(), folder, boot, file_bytes=file_bytes)


def write(journal, *events):
    return [journal.append("info", event, {"n": n}, NOON) for n, event in enumerate(events)]


def everything(journal):
    """All entries, read on from place to place as the sender does."""
    found, position = [], Position()
    while (portion := journal.read(position)).end != position:
        found += portion.entries
        position = portion.end
    return found


def events(journal):
    return [entry.event for entry in everything(journal)]


def test_what_was_written_is_read_with_both_clocks(tmp_path):
    journal = journal_in(tmp_path / "journal")
    journal.append("warning", "refused", {"code": "TooLarge"}, Moment(5.0, 7.5, trusted=False))
    (entry,) = everything(journal)
    assert (entry.boot_id, entry.sequence, entry.level, entry.event) == ("boot-1", 1, "warning", "refused")
    assert (entry.at, entry.monotonic, entry.clock_trusted, entry.fields) == (5.0, 7.5, False, {"code": "TooLarge"})


def test_a_line_is_one_json_object(tmp_path):
    write(journal_in(tmp_path), "started")
    (line,) = (tmp_path / "00000001.jsonl").read_text().splitlines()
    assert json.loads(line)["event"] == "started"


def test_the_next_boot_goes_on_in_the_same_file(tmp_path):
    write(journal_in(tmp_path), "first")
    second = journal_in(tmp_path, boot="boot-2")
    write(second, "second")
    assert [(e.boot_id, e.sequence) for e in everything(second)] == [("boot-1", 1), ("boot-2", 1)]


def test_it_takes_two_files_of_its_bound_at_most(tmp_path):
    journal = journal_in(tmp_path, file_bytes=2_000)
    write(journal, *[f"event-{n}" for n in range(200)])
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 2_000
    assert events(journal)[-1] == "event-199"
    assert events(journal) == [f"event-{n}" for n in range(200)][-len(events(journal)) :]


def test_a_position_whose_file_has_gone_means_the_oldest_line(tmp_path):
    journal = journal_in(tmp_path, file_bytes=2_000)
    write(journal, *[f"event-{n}" for n in range(200)])
    assert journal.read(Position(1, 300)).entries[0].event == events(journal)[0]


def test_a_position_beyond_the_end_means_the_oldest_line(tmp_path):
    journal = journal_in(tmp_path)
    write(journal, "started")
    assert journal.read(Position(9, 0)).entries[0].event == "started"


def test_a_line_that_a_kill_tore_costs_itself_alone(tmp_path):
    write(journal_in(tmp_path), "first", "torn")
    path = tmp_path / "00000001.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = journal_in(tmp_path, boot="boot-2")
    write(again, "second", "third")
    assert events(again) == ["first", "second", "third"]


def test_a_line_that_is_not_ended_yet_is_not_read_past(tmp_path):
    journal = journal_in(tmp_path)
    write(journal, "first")
    path = tmp_path / "00000001.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    portion = journal.read(Position(1, 0))
    assert portion.end == Position(1, len(whole))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_what_the_disk_refuses_is_counted_and_told_of_later(tmp_path, code):
    disk = MoodyDisk()
    journal = journal_in(tmp_path / "journal", disk)
    disk.code = code
    assert write(journal, "one", "two") == [False, False]
    disk.code = 0
    assert write(journal, "three") == [True]
    (entry,) = everything(journal)
    assert (entry.event, entry.sequence, entry.fields["lostBefore"]) == ("three", 1, 2)


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    journal = journal_in(tmp_path / "journal")
    write(journal, "one")
    Disk().remove(tmp_path / "journal")
    write(journal, "two", "three")
    assert events(journal)[-1] == "three"


def test_fields_past_the_bound_are_left_out(tmp_path):
    journal = journal_in(tmp_path)
    journal.append("info", "many", {f"k{n}": n for n in range(100)}, NOON)
    assert len(everything(journal)[0].fields) == MAX_LOG_FIELDS


@given(junk=st.lists(st.binary(max_size=200)))
def test_a_reader_takes_any_bytes(junk):
    entries_in(b"\n".join(junk))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 2_000), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=5))
def test_garbled_lines_cost_themselves_alone(tmp_path_factory, cut, flips):
    """Whatever bits flip and wherever the file ends: each line that is unharmed is read, in order, and nothing twice."""
    folder = tmp_path_factory.mktemp("journal")
    write(journal_in(folder), *[f"event-{n}" for n in range(10)])
    path = folder / "00000001.jsonl"
    before = path.read_bytes()
    data = bytearray(before[: max(0, len(before) - cut)])
    for at, bits in flips:
        if data:
            data[at % len(data)] ^= bits
    path.write_bytes(data)
    unharmed = [line for line in bytes(data).split(b"\n") if line in before.split(b"\n")[:-1]]
    again = journal_in(folder, boot="boot-2")
    write(again, "afterwards")
    found = everything(again)
    assert found[-1].event == "afterwards"
    told = [json.loads(line)["event"] for line in unharmed]
    rest = iter([e.event for e in found])
    assert all(event in rest for event in told)
    assert len(found) <= len(bytes(data).split(b"\n")) + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(min_size=1, max_size=3 * MAX_LINE_BYTES))
def test_reading_on_gets_past_any_file(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("journal")
    (folder / "00000001.jsonl").write_bytes(junk)
    journal = journal_in(folder)
    write(journal, "afterwards")
    assert events(journal)[-1] == "afterwards"


def test_foreign_files_are_none_of_its_own(tmp_path):
    for name in ("sent.json", "x.jsonl", "²³.jsonl"):
        (tmp_path / name).write_text("{}")
    assert numbers_in(Disk(), tmp_path) == []


ENDLESS = """
import sys
from pathlib import Path
from litefleet_agent.fileio import Disk
from litefleet_agent.journal import Journal, Moment
journal = Journal(Disk(), Path(sys.argv[1]), sys.argv[2], file_bytes=20_000)
n = 0
while True:
    n += 1
    journal.append("info", "counted", {"n": n}, Moment(1.0, 1.0, True))
    if n == 200:
        print("going", flush=True)
"""


def test_a_kill_loses_nothing_that_was_written(tmp_path):
    """Killed five times in the middle of writing and turning over: what is there is whole, in order, and without gaps."""
    for boot in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(tmp_path), f"boot-{boot}"], stdout=subprocess.PIPE
        )
        writer.stdout.readline()
        writer.kill()
        writer.communicate()
        found = [e for e in everything(journal_in(tmp_path, boot="reader")) if e.boot_id == f"boot-{boot}"]
        sequences = [e.sequence for e in found]
        assert sequences == list(range(sequences[0], sequences[-1] + 1))
        assert sequences[-1] >= 200
        assert len(list(tmp_path.iterdir())) <= 3
