"""The journal's way out: one message at a time, nothing lost between boots, no flood."""

from litefleet_agent.fileio import Disk
from litefleet_agent.journal import Journal, Moment
from litefleet_agent.logsender import LogSender, Pace
from litefleet_protocol import codec
from litefleet_protocol.limits import MAX_LOG_ENTRIES
from litefleet_protocol.messages import Ack, DeviceLog, Stream

NOON = Moment(1_772_000_000.0, 12.5, trusted=True)
PACE = Pace(every_s=2.0, resend_s=30.0, longest_s=100.0)


class Wire:
    """Implements Link as far as the sender goes."""

    def __init__(self):
        self.connected = True
        self.sent: list[DeviceLog] = []

    def publish(self, topic, payload, *, retain=False):
        assert topic == "lf/v1/d/pi-1/up/log"
        assert not retain
        self.sent.append(codec.decode(DeviceLog, payload))
        return True


class Board:
    def __init__(self, folder, boot="boot-1"):
        self.wire = Wire()
        self.journal = Journal(Disk(), folder, boot)
        self.sender = LogSender(self.journal, self.wire, Disk(), folder, "pi-1", PACE)
        self.now = 0.0

    def say(self, *events):
        for event in events:
            self.journal.append("info", event, {}, NOON)

    def after(self, seconds):
        self.now += seconds
        self.sender.send(self.now)
        return [[e.event for e in message.entries] for message in self.wire.sent]

    def ack(self):
        last = self.wire.sent[-1].entries[-1]
        self.sender.acknowledged(Ack(boot_id=last.boot_id, sequence=last.sequence, stream=Stream.LOG))


def test_entries_that_lie_together_travel_together(tmp_path):
    board = Board(tmp_path)
    board.say("one", "two")
    assert board.after(0) == [["one", "two"]]


def test_the_next_message_waits_for_the_ack(tmp_path):
    board = Board(tmp_path)
    board.say("one")
    board.after(0)
    board.say("two")
    assert board.after(10) == [["one"]]
    board.ack()
    assert board.after(0) == [["one"], ["two"]]


def test_a_lost_message_is_sent_again_ever_more_patiently(tmp_path):
    board = Board(tmp_path)
    board.say("one")
    board.after(0)
    sent_at = [0]
    for second in range(1, 400):
        if len(board.after(1)) > len(sent_at):
            sent_at.append(second)
    assert sent_at == [0, 30, 90, 190, 290, 390]


def test_a_reconnect_sends_at_once_what_was_under_way(tmp_path):
    board = Board(tmp_path)
    board.say("one")
    board.after(0)
    board.sender.reconnected()
    assert board.after(2) == [["one"], ["one"]]


def test_an_ack_of_something_else_changes_nothing(tmp_path):
    board = Board(tmp_path)
    board.say("one")
    board.after(0)
    board.sender.acknowledged(Ack(boot_id="boot-1", sequence=7, stream=Stream.LOG))
    board.say("two")
    assert board.after(10) == [["one"]]


def test_nothing_is_sent_while_the_link_is_down(tmp_path):
    board = Board(tmp_path)
    board.wire.connected = False
    board.say("one")
    assert board.after(0) == []
    board.wire.connected = True
    assert board.after(0) == [["one"]]


def test_the_next_boot_goes_on_behind_what_was_acknowledged(tmp_path):
    first = Board(tmp_path)
    first.say("one")
    first.after(0)
    first.ack()
    first.say("two")
    second = Board(tmp_path, "boot-2")
    second.say("three")
    assert second.after(0) == [["two", "three"]]
    assert [e.boot_id for e in second.wire.sent[0].entries] == ["boot-1", "boot-2"]


def test_a_place_that_was_forgotten_costs_a_repetition(tmp_path):
    first = Board(tmp_path)
    first.say("one")
    first.after(0)
    first.ack()
    (tmp_path / "sent.json").write_bytes(b"\x00\xff")
    assert Board(tmp_path, "boot-2").after(0) == [["one"]]


def test_a_backlog_goes_out_in_portions_at_a_bounded_rate(tmp_path):
    board = Board(tmp_path)
    board.say(*[f"event-{n}" for n in range(1_000)])
    began = board.now
    sent = 0
    while sent < 1_000:
        board.after(0.5)
        sent = sum(len(m.entries) for m in board.wire.sent)
        board.ack()
    messages = board.wire.sent
    assert [e.event for m in messages for e in m.entries] == [f"event-{n}" for n in range(1_000)]
    assert max(len(m.entries) for m in messages) <= MAX_LOG_ENTRIES
    assert board.now - began >= PACE.every_s * (len(messages) - 1)


def test_an_idle_board_reads_nothing(tmp_path):
    reads = []

    class Watched(Disk):
        def read_at(self, path, offset, size):
            reads.append(path)
            return super().read_at(path, offset, size)

    journal = Journal(Watched(), tmp_path, "boot-1")
    board = Board(tmp_path)
    board.sender = LogSender(journal, board.wire, Disk(), tmp_path, "pi-1", PACE)
    journal.append("info", "one", {}, NOON)
    board.after(0)
    board.ack()
    board.after(10)
    reads.clear()
    for _ in range(100):
        board.after(10)
    assert reads == []
