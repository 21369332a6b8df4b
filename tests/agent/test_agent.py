"""The main loop with real artifacts, children and LiteRT, no broker, and a disk that can be full."""

import errno
import json
import threading

import numpy as np
import pytest

from litefleet_agent import compose, identity
from litefleet_agent import events as ev
from litefleet_agent.config import Config
from litefleet_agent.fileio import Disk
from litefleet_agent.journal import Position
from litefleet_agent.journaling import journaling
from litefleet_agent.slots import Slots
from litefleet_protocol import codec
from litefleet_protocol.enrollment import EnrollResponse
from litefleet_protocol.messages import Desired, Reported, SlotDesired
from litefleet_protocol.tensors import Postprocess, Preprocess

from .artifacts import DATA, WIDE_SIGNATURE, Key, golden_for, make
from .authority import Authority
from .broker import until


class FullDisk(Disk):
    """Takes nothing while `full`, as ext4 does it: existing files can be read, removed and renamed."""

    full = False

    def __init__(self):
        super().__init__(self._refuse)

    def _refuse(self, operation, path):
        if FullDisk.full and operation in ("write", "append", "append_line", "write_at", "mkdir"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


class Listened:
    """Implements `Link`: nobody answers, but what the board says of itself is kept."""

    connected = True

    def __init__(self):
        self.reports = []

    def start(self):
        pass

    def stop(self):
        pass

    def publish(self, topic, payload, *, retain=False):
        if topic.endswith("/up/reported"):
            self.reports.append(codec.decode(Reported, payload))
        return True

    def subscribe(self, topic):
        pass

    def unsubscribe(self, topic):
        pass


class Board:
    """An agent in this process; what it should run is put in its mailbox as if a broker had brought it."""

    def __init__(self, folder, key: Key) -> None:
        self.folder = folder
        self.key = key
        self.counter = 0
        authority = Authority()
        certificate, private = authority.issue("pi-1")
        staging = identity.staging_directory(folder)
        staging.mkdir(parents=True)
        (staging / "key.pem").write_text(private)
        identity.save(
            Disk(),
            folder,
            EnrollResponse(
                fleet="fleet1",
                namespace="default",
                device="pi-1",
                device_class="rpi-4",
                certificate=certificate,
                ca=authority.pem(authority.certificate),
                broker_host="127.0.0.1",
                broker_port=9,
                signing_keys=(key.pinned,),
            ),
        )
        self.link = Listened()
        self.agent = compose.compose(folder, Config(), lambda _who, _deliver: self.link)
        self.thread = threading.Thread(target=self.agent.run)

    def start(self):
        self.thread.start()

    def hold(self, made):
        slots = Slots(Disk(), self.folder)
        folder = slots.reopen(made.digest)
        folder.keep_manifest(made.envelope)
        folder.write_chunk(made.manifest, 0, b"".join(made.chunks))
        slots.finish(made.digest, made.manifest)

    def assign(self, made, probation_seconds=0.2):
        self.counter += 1
        slot = SlotDesired(
            artifact=made.digest, version=made.manifest.version, probation_seconds=probation_seconds, fallback=None
        )
        message = Desired(
            fleet="fleet1",
            namespace="default",
            device="pi-1",
            device_class="rpi-4",
            epoch=1,
            counter=self.counter,
            slots={"digits": slot},
        )
        self.agent._parts.mailbox.put(ev.DesiredReceived(message))

    @property
    def hot(self):
        return self.agent.place("digits").hot

    @property
    def step(self):
        slot = self.agent._state.slots.get("digits")
        return slot.step if slot else None

    def serves(self, version):
        return self.hot.live is not None and self.hot.live.version == version

    def remembered(self):
        return json.loads((self.folder / "state.json").read_text())["slots"]["digits"]

    def stop(self):
        FullDisk.full = False
        self.agent.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def board(tmp_path, key, monkeypatch):
    monkeypatch.setattr(compose, "Disk", FullDisk)
    made = Board(tmp_path, key)
    yield made
    made.stop()


def logarithm(key, version, offset):
    """log(x + offset): NaN for what lies under -offset."""
    return make(
        key,
        (DATA / "log-4.tflite").read_bytes(),
        golden_for(DATA / "log-4.tflite", x=np.ones((1, 4), np.float32)),
        version=version,
        signature=WIDE_SIGNATURE,
        postprocess=Postprocess(kind="none"),
        preprocess=Preprocess(offset=offset),
    )


def test_way_back_does_not_wait_for_a_full_disk(board, key):
    good, bad = logarithm(key, "digits-v1", 1.0), logarithm(key, "digits-v2", -5.0)
    board.hold(good)
    board.start()
    board.assign(good)
    until(lambda: board.serves("digits-v1") and board.step == "idle", "v1 serves")
    board.hold(bad)
    board.assign(bad, probation_seconds=60)
    until(lambda: board.serves("digits-v2"), "v2 is on trial")
    FullDisk.full = True
    assert board.hot.infer(np.zeros(4, np.float32)).version == "digits-v1", "v2 gives NaN, so v1 answers"
    until(lambda: board.serves("digits-v1") and board.step == "failed", "v1 is back on a full disk")
    assert "bad" not in board.remembered() or not board.remembered()["bad"]
    board.assign(good)  # waits for the disk, and must not be lost
    FullDisk.full = False
    until(lambda: board.remembered()["bad"] == {bad.digest: "BadOutput"}, "the bad mark is durable")
    until(lambda: board.step == "idle", "what was said meanwhile is followed")
    assert board.remembered()["desired"]["artifact"] == good.digest


def test_a_journal_on_a_full_disk_is_in_nobodys_way(board, key):
    good, next_one = logarithm(key, "digits-v1", 1.0), logarithm(key, "digits-v2", 2.0)
    board.hold(good)
    journal = compose.open_journal(board.folder)
    with journaling(journal):
        board.start()
        board.assign(good)
        until(lambda: board.serves("digits-v1") and board.step == "idle", "v1 serves")
        board.hold(next_one)
        FullDisk.full = True
        board.assign(next_one)
        until(lambda: journal.lost, "the journal is refused, too")
        assert board.hot.infer(np.zeros(4, np.float32)).version == "digits-v1"
        FullDisk.full = False
        until(lambda: board.serves("digits-v2") and board.step == "idle", "v2 serves")
    found = journal.read(Position(), 64 * 1024).entries
    assert [e.fields["version"] for e in found if e.event == "swapped"] == ["digits-v1", "digits-v2"]
    assert any(e.fields.get("lostBefore") for e in found)


def test_nothing_is_tried_and_nothing_collected_while_its_attempt_cannot_be_counted(board, key):
    good, next_one = logarithm(key, "digits-v1", 1.0), logarithm(key, "digits-v2", 2.0)
    board.hold(good)
    board.start()
    board.assign(good)
    until(lambda: board.serves("digits-v1") and board.step == "idle", "v1 serves")
    board.hold(next_one)
    FullDisk.full = True
    board.assign(next_one)
    until(lambda: board.agent._backlog, "it waits for the disk")
    assert (board.step, board.serves("digits-v1")) == ("idle", True)
    assert board.hot.infer(np.zeros(4, np.float32)).version == "digits-v1"
    FullDisk.full = False
    until(lambda: board.serves("digits-v2") and board.step == "idle", "v2 serves")
    assert board.remembered()["previous"]["digest"] == good.digest


def test_a_board_whose_disk_takes_nothing_says_so_and_when_that_is_over(board, key):
    good = logarithm(key, "digits-v1", 1.0)
    board.hold(good)
    board.start()
    FullDisk.full = True
    board.assign(good)
    until(lambda: board.link.reports and board.link.reports[-1].code == "DiskFull", "it says that its disk is full")
    assert "can't be saved" in board.link.reports[-1].message
    FullDisk.full = False
    until(lambda: board.serves("digits-v1") and board.step == "idle", "v1 serves")
    assert board.link.reports[-1].code == ""
