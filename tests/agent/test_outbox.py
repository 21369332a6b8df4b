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
