"""The outbox: nothing is lost to a kill or a silent broker, and it never outgrows its bound."""

from hypothesis import given, settings
from hypothesis import strategies as st

from litefleet_agent.fileio import Disk
from litefleet_agent.outbox import Outbox, OutboxLimits

SMALL = OutboxLimits(max_bytes=2000, segment_bytes=500, window=4, resend_s=30)


def fill(outbox, count):
    for _ in range(count):
        sequence = outbox.next_sequence()
        outbox.append(sequence, f"data {sequence}".encode())


def sequences(outbox, now=0.0):
    return [(r.boot_id, r.sequence) for r in outbox.due(now)]


def test_sequences_begin_at_one_and_are_sent_in_order_within_the_window(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", SMALL)
    fill(outbox, 6)
    assert sequences(outbox) == [("boot", n) for n in (1, 2, 3, 4)]


def test_what_was_sent_waits_for_its_acknowledgement_and_is_resent_after_a_while(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", SMALL)
    fill(outbox, 2)
    for record in outbox.due(0.0):
        outbox.sent(record, 0.0)
    assert sequences(outbox, 29.0) == []
    assert len(sequences(outbox, 30.0)) == 2
    outbox.acknowledge("boot", 1)
    assert sequences(outbox, 30.0) == [("boot", 2)]


def test_reconnecting_sends_again_at_once(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", SMALL)
    fill(outbox, 1)
    for record in outbox.due(0.0):
        outbox.sent(record, 0.0)
    outbox.reconnected()
    assert sequences(outbox, 0.1) == [("boot", 1)]


def test_acknowledged_segments_leave_the_disk(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", SMALL)
    fill(outbox, 30)
    outbox.acknowledge("boot", 30)
    assert (len(outbox), list(tmp_path.iterdir())) == (0, [])
    fill(outbox, 1)
    assert sequences(outbox) == [("boot", 31)]


def test_records_of_an_earlier_boot_survive_and_are_acknowledged_apart(tmp_path):
    fill(Outbox(Disk(), tmp_path, "old", SMALL), 2)
    outbox = Outbox(Disk(), tmp_path, "new", SMALL)
    fill(outbox, 1)
    assert sequences(outbox) == [("old", 1), ("old", 2), ("new", 1)]
    outbox.acknowledge("new", 5)
    assert sequences(outbox) == [("old", 1), ("old", 2)]


def test_full_outbox_drops_its_oldest_and_counts_them(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", SMALL)
    fill(outbox, 200)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= SMALL.max_bytes
    assert outbox.dropped + len(outbox) == 200
    assert sequences(outbox)[0] == ("boot", outbox.dropped + 1)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), junk=st.binary(max_size=20))
def test_torn_tail_costs_only_what_was_torn(tmp_path_factory, cut, junk):
    folder = tmp_path_factory.mktemp("outbox")
    limits = OutboxLimits()
    fill(Outbox(Disk(), folder, "boot", limits), 10)
    (segment,) = folder.iterdir()
    whole = segment.read_bytes()
    size = len(whole) // 10
    segment.write_bytes(whole[:cut] + junk)
    outbox = Outbox(Disk(), folder, "next", limits)
    kept = [s for _, s in sequences(outbox)]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= min(cut, len(whole)) // (size + 1)
    fill(outbox, 1)
    assert ("next", 1) in sequences(Outbox(Disk(), folder, "third", limits))


class FullDisk(Disk):
    def append(self, path, data):
        raise OSError(28, "No space left on device")


def test_record_that_the_disk_does_not_take_is_dropped_and_counted(tmp_path):
    outbox = Outbox(FullDisk(), tmp_path, "boot", SMALL)
    fill(outbox, 3)
    assert (outbox.dropped, len(outbox)) == (3, 0)


class NoRoomDisk(Disk):
    """Creates files, but takes no bytes while `full`."""

    full = True

    def __init__(self):
        super().__init__(self._refuse)

    def _refuse(self, operation, path):
        if operation == "fsync" and self.full and path.suffix == ".log":
            raise OSError(28, "No space left on device")


def test_full_disk_leaves_neither_empty_segments_nor_torn_records_behind(tmp_path):
    disk = NoRoomDisk()
    outbox = Outbox(disk, tmp_path, "boot", SMALL)
    fill(outbox, 100)
    assert (outbox.dropped, len(outbox), list(tmp_path.iterdir())) == (100, 0, [])
    disk.full = False
    fill(outbox, 2)
    disk.full = True
    fill(outbox, 100)
    disk.full = False
    fill(outbox, 1)
    assert [s for _, s in sequences(outbox)] == [101, 102, 203]
    assert len(list(tmp_path.iterdir())) == 2
    assert len(sequences(Outbox(Disk(), tmp_path, "next", SMALL))) == 3


def test_segment_that_is_lost_or_damaged_costs_its_records_and_nothing_else(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", OutboxLimits(segment_bytes=100, window=10))
    fill(outbox, 9)
    first, second, *_ = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_bytes(b"\xc1" * second.stat().st_size)
    lost = 9 - len(sequences(outbox))
    assert lost >= 2
    assert (outbox.dropped, len(outbox)) == (lost, 9 - lost)
    assert [s for _, s in sequences(outbox)] == list(range(lost + 1, 10))


def test_away_for_a_month_it_stays_within_its_bound(tmp_path):
    outbox = Outbox(Disk(), tmp_path, "boot", OutboxLimits(max_bytes=20_000, segment_bytes=4_000))
    for _ in range(300):
        outbox.append(outbox.next_sequence(), b"x" * 300)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 20_000
    assert len(outbox) + outbox.dropped == 300
    assert len(list(tmp_path.iterdir())) <= 6


def test_what_a_kill_left_unsynced_is_synced_before_it_is_counted_on(tmp_path):
    fill(Outbox(Disk(), tmp_path, "boot", SMALL), 2)
    touched = []
    disk = Disk(lambda operation, path: touched.append((operation, path)))
    outbox = Outbox(disk, tmp_path, "next", SMALL)
    assert touched == [], "a board serves before it looks at what was left"
    assert len(sequences(outbox)) == 2
    assert [p for operation, p in touched if operation == "fsync"] == [*sorted(tmp_path.glob("*.log")), tmp_path]


def test_what_cannot_be_read_now_is_not_taken_for_nothing(tmp_path):
    fill(Outbox(Disk(), tmp_path, "old", SMALL), 2)
    failing = [True]

    class SickDisk(Disk):
        def list(self, path):
            if failing[0]:
                raise OSError(5, "Input/output error")
            return super().list(path)

    outbox = Outbox(SickDisk(), tmp_path, "new", SMALL)
    assert sequences(outbox) == []
    outbox.acknowledge("old", 2)
    fill(outbox, 1)
    assert outbox.dropped == 1
    failing[0] = False
    fill(outbox, 1)
    assert sequences(outbox) == [("old", 1), ("old", 2), ("new", 2)]
