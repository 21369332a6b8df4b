"""Fetching, against a real mosquitto: the window, silence, resumption, damage, and what doesn't fit."""

import hashlib
import queue
import random
import time

import msgspec
import pytest

from litefleet_agent import events as ev
from litefleet_agent.errors import AgentError
from litefleet_agent.fetch import Fetcher, Patience
from litefleet_agent.fileio import Disk
from litefleet_agent.interface import Incoming
from litefleet_agent.link import Address, MqttLink
from litefleet_agent.slots import SPARE_BYTES, Slots
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.limits import CHUNK_WINDOW
from litefleet_protocol.messages import Need

from .artifacts import Key, make
from .broker import Client, until


class Counting:
    """A `Link` around the real one that remembers how many topics were wanted at once."""

    def __init__(self, link):
        self._link = link
        self.wanted = set()
        self.most = 0
        self.ever = []

    @property
    def connected(self):
        return self._link.connected

    def start(self):
        self._link.start()

    def stop(self):
        self._link.stop()

    def publish(self, topic, payload, *, retain=False):
        return self._link.publish(topic, payload, retain=retain)

    def subscribe(self, topic):
        self.wanted.add(topic)
        self.ever.append(topic)
        self.most = max(self.most, len(self.wanted))
        self._link.subscribe(topic)

    def unsubscribe(self, topic):
        self.wanted.discard(topic)
        self._link.unsubscribe(topic)


class Board:
    """A fetcher with a link, driven by hand."""

    def __init__(self, broker, tmp_path, disk=None, fits=lambda _: None):
        self.mail = queue.SimpleQueue()
        self.events = []
        inner = MqttLink(
            Address("127.0.0.1", broker.port, "pi-1", first_pause_s=0.1),
            lambda: None,
            deliver=self.mail.put,
            random=random.random,
            new_id=lambda: f"{random.random()}",
        )
        self.link = Counting(inner)
        self.slots = Slots(disk or Disk(), tmp_path / "board")
        self.fetcher = Fetcher(
            self.slots,
            self.link,
            device="pi-1",
            namespace="default",
            emit=self.events.append,
            random=random.random,
            patience=Patience(0.15, 1.0),
            fits=fits,
        )
        self.link.start()
        until(lambda: self.link.connected, "link is up")

    def pump(self):
        while True:
            try:
                item = self.mail.get_nowait()
            except queue.Empty:
                break
            if isinstance(item, Incoming):
                topic = topics.parse(item.topic)
                if isinstance(topic, topics.ManifestTopic | topics.ChunkTopic):
                    self.fetcher.message(topic, item.payload, time.monotonic())
        self.fetcher.tick(time.monotonic())

    def until(self, kind, timeout_s=20):
        def found():
            self.pump()
            return [e for e in self.events if isinstance(e, kind)]

        return until(found, f"{kind.__name__}; events: {self.events[-3:]}", timeout_s)[-1]

    def start(self, digest, ticket=1):
        self.fetcher.start("digits", ticket, digest, time.monotonic())


@pytest.fixture
def board(broker, tmp_path):
    made = Board(broker, tmp_path)
    yield made
    made.link.stop()


@pytest.fixture
def controller(broker):
    made = Client(broker.port, [topics.ALL_UP])
    yield made
    made.close()


def many_chunks(key: Key, count: int = 40):
    return make(key, random.Random(1).randbytes(count * 1024 - 100), b"golden" * 10, chunk_bytes=1024)


def publish(controller, made, chunks=None, manifest=True):
    if manifest:
        controller.publish(topics.manifest("default", made.digest), made.envelope)
    for n, chunk in enumerate(made.chunks):
        if chunks is None or n in chunks:
            controller.publish(topics.chunk("default", made.digest, n), chunk)


def test_retained_artifact_arrives_whole_through_a_window(board, controller, key):
    made = many_chunks(key)
    publish(controller, made)
    board.start(made.digest)
    board.until(ev.Fetched)
    assert board.slots.holds(made.digest)
    assert board.link.most <= CHUNK_WINDOW
    assert board.link.wanted == set()


def test_artifact_that_is_on_the_disk_needs_no_network(board, controller, key):
    made = many_chunks(key)
    publish(controller, made)
    board.start(made.digest)
    board.until(ev.Fetched)
    before = len(board.link.ever)
    board.start(made.digest, ticket=2)
    assert board.events[-1] == ev.Fetched("digits", 2)
    assert len(board.link.ever) == before


def test_silence_is_answered_with_need_and_the_rest_arrives(board, controller, key):
    made = many_chunks(key)
    publish(controller, made, chunks=set(range(10)), manifest=False)
    board.start(made.digest)

    def asked():
        board.pump()
        return {n for data in controller.received("/up/need") for n in codec.decode(Need, data).chunks}

    until(lambda: -1 in asked(), "need of the manifest")
    controller.publish(topics.manifest("default", made.digest), made.envelope, retain=False)
    until(lambda: {10, 11, 12} <= asked(), "need of chunks")
    publish(controller, made, chunks=set(range(10, 41)))
    board.until(ev.Fetched)
    assert board.slots.holds(made.digest)
    assert not asked() & set(range(10))


def test_need_grows_more_patient(board, controller, key):
    made = many_chunks(key)
    board.start(made.digest)
    until(lambda: (board.pump(), len(controller.received("/up/need")) >= 3)[1], "three needs")
    moments = board.fetcher._transfers["digits"].awaited[-1].patience_s
    assert moments >= 0.6


def test_damaged_foreign_and_oversized_chunks_are_dropped_and_counted(board, controller, key):
    made = many_chunks(key)
    swapped = {0: made.chunks[1], 1: made.chunks[0], 2: b"x" * 5000, 3: b"short"}
    publish(controller, made, chunks=set(range(4, 41)))
    for n, data in swapped.items():
        controller.publish(topics.chunk("default", made.digest, n), data)
    board.start(made.digest)
    until(lambda: (board.pump(), board.fetcher.dropped >= 4)[1], "drops")
    publish(controller, made, chunks=set(swapped))
    board.until(ev.Fetched)
    assert board.slots.holds(made.digest)


def test_manifest_that_is_not_the_signed_one_is_dropped(board, controller, key):
    made, other = many_chunks(key), many_chunks(key, 10)
    controller.publish(topics.manifest("default", made.digest), other.envelope)
    board.start(made.digest)
    until(lambda: (board.pump(), board.fetcher.dropped >= 1)[1], "drop")
    publish(controller, made)
    board.until(ev.Fetched)


def test_fetch_resumes_from_what_is_on_the_disk(broker, board, controller, key, tmp_path):
    made = many_chunks(key)
    publish(controller, made, chunks=set(range(20)))
    board.start(made.digest)
    until(lambda: (board.pump(), board.events and getattr(board.events[-1], "received", 0) >= 20)[1], "20 chunks")
    board.fetcher.stop("digits")
    board.link.stop()
    publish(controller, made)
    again = Board(broker, tmp_path)
    again.start(made.digest)
    again.until(ev.Fetched)
    again.link.stop()
    fetched = {t.rpartition("/")[2] for t in again.link.ever}
    assert fetched == {str(n) for n in range(20, len(made.chunks))}


def test_chunk_that_rotted_on_the_disk_is_fetched_again(broker, board, controller, key, tmp_path):
    made = many_chunks(key)
    publish(controller, made)
    board.start(made.digest)
    board.until(ev.Fetched)
    path = board.slots.complete(made.digest).file("model.tflite")
    data = bytearray(path.read_bytes())
    data[5000] ^= 255
    path.write_bytes(data)
    board.events.clear()
    board.start(made.digest, ticket=2)
    board.until(ev.Fetched)
    assert {t.rpartition("/")[2] for t in board.link.ever[len(made.chunks) + 1 :]} == {"4"}


def test_fetch_goes_on_after_the_broker_was_killed_and_came_back_empty(broker, board, controller, key):
    made = many_chunks(key)
    publish(controller, made, chunks=set(range(15)))
    board.start(made.digest)
    until(lambda: (board.pump(), board.events and getattr(board.events[-1], "received", 0) >= 15)[1], "15 chunks")
    broker.kill()
    until(lambda: not board.link.connected, "link is down")
    broker.start()
    until(lambda: board.link.connected, "link is up again")
    again = Client(broker.port, [topics.ALL_UP])
    publish(again, made)
    board.until(ev.Fetched)
    again.close()


class FullDisk(Disk):
    def free_bytes(self, path):
        return SPARE_BYTES + 1000


def test_artifact_larger_than_the_free_disk_is_refused_with_both_numbers(broker, controller, key, tmp_path):
    board = Board(broker, tmp_path, FullDisk())
    made = many_chunks(key)
    publish(controller, made)
    board.start(made.digest)
    failed = board.until(ev.StepFailed)
    board.link.stop()
    assert failed.code == "DiskFull"
    assert "1000 are free" in failed.message


def test_artifact_that_the_board_can_not_run_is_refused_before_a_chunk_is_fetched(broker, controller, key, tmp_path):
    def fits(manifest):
        raise AgentError(Code.RUNTIME_MISSING, f"no {manifest.runtime} here")

    made = make(key, {"model.xml": b"<net/>", "model.bin": b"0"}, None, runtime="openvino")
    publish(controller, made)
    board = Board(broker, tmp_path, fits=fits)
    board.start(made.digest)
    failed = board.until(ev.StepFailed)
    assert (failed.code, failed.message) == ("RuntimeMissing", "no openvino here")
    assert board.link.ever == [topics.manifest("default", made.digest)]
    board.link.stop()


def test_collect_keeps_what_is_named_and_removes_the_rest(board, controller, key):
    made, other = many_chunks(key), many_chunks(key, 10)
    for one in (made, other):
        publish(controller, one)
        board.events.clear()
        board.start(one.digest)
        board.until(ev.Fetched)
    board.slots.collect(frozenset({made.digest}))
    assert board.slots.holds(made.digest)
    assert not board.slots.complete(other.digest).path.exists()


def test_manifest_at_odds_with_itself_is_final(board, controller, key):
    made = many_chunks(key)
    files = tuple(msgspec.structs.replace(f, digest=f"sha256:{'0' * 64}") for f in made.manifest.files)
    payload = codec.encode(msgspec.structs.replace(made.manifest, files=files))
    digest = f"sha256:{hashlib.sha256(payload).hexdigest()}"
    controller.publish(topics.manifest("default", digest), envelope.seal(PayloadType.ARTIFACT, payload, [key]))
    for n, chunk in enumerate(made.chunks):
        controller.publish(topics.chunk("default", digest, n), chunk)
    board.start(digest)
    assert board.until(ev.StepFailed).code == "BadMessage"


class Silent:
    """A `Link` that sends nowhere and remembers what was asked for. Implements `Link`."""

    def __init__(self):
        self.connected = True
        self.asked = []

    def start(self):
        pass

    def stop(self):
        pass

    def publish(self, topic, payload, *, retain=False):
        self.asked += codec.decode(Need, payload).chunks
        return True

    def subscribe(self, topic):
        pass

    def unsubscribe(self, topic):
        pass


class Slow:
    """A fetcher by hand, on a link that brings one part after the other; its clock is ours."""

    def __init__(self, tmp_path, made):
        self.link = Silent()
        self.made = made
        self.now = 0.0
        self.fetcher = Fetcher(
            Slots(Disk(), tmp_path / "board"),
            self.link,
            device="pi-1",
            namespace="default",
            emit=lambda _: None,
            random=lambda: 0.0,
            patience=Patience(first_s=3.0),
        )
        self.fetcher.start("digits", 1, made.digest, self.now)
        self.fetcher.message(topics.ManifestTopic("default", made.digest), made.envelope, self.now)

    def wait(self, seconds):
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.fetcher.tick(self.now)

    def bring(self, number):
        self.fetcher.message(topics.ChunkTopic("default", self.made.digest, number), self.made.chunks[number], self.now)


def test_what_a_slow_link_still_brings_is_not_asked_for(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    for number in range(20):
        board.wait(2.5)
        board.bring(number)
    assert board.link.asked == []


def test_on_a_very_slow_link_only_the_first_chunks_are_asked_for_in_vain(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    for number in range(20):
        board.wait(20)
        board.bring(number)
    assert set(board.link.asked) <= set(range(CHUNK_WINDOW))


def test_a_chunk_that_the_broker_lacks_is_asked_for_while_others_arrived(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    for number in range(1, CHUNK_WINDOW):
        board.bring(number)
    for number in range(CHUNK_WINDOW, 40):
        board.wait(0.5)
        board.bring(number)
    board.wait(4)
    assert set(board.link.asked) == {0}


def test_silence_before_a_justified_request_makes_nobody_more_patient(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    for first in range(0, 40, CHUNK_WINDOW):
        board.wait(3.3)
        assert set(board.link.asked) == set(range(first, first + CHUNK_WINDOW))
        board.link.asked.clear()
        for number in range(first, first + CHUNK_WINDOW):
            board.bring(number)


def test_a_link_that_comes_back_is_waited_for_anew(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    board.link.connected = False
    board.wait(100)
    board.link.connected = True
    board.wait(2.9)
    assert board.link.asked == []
    board.wait(1)
    assert set(board.link.asked) == set(range(CHUNK_WINDOW))


def test_a_damaged_chunk_is_asked_for_at_once_but_only_the_first_time(tmp_path, key):
    board = Slow(tmp_path, many_chunks(key))
    rubbish = topics.ChunkTopic("default", board.made.digest, 3)
    board.fetcher.message(rubbish, b"rubbish", board.now)
    board.bring(0)
    board.wait(0.1)
    assert board.link.asked == [3]
    board.fetcher.message(rubbish, b"rubbish", board.now)
    board.wait(0.1)
    assert board.link.asked == [3]
    board.wait(30)
    assert board.link.asked.count(3) > 1


def test_a_damaged_manifest_is_asked_for_at_once(tmp_path, key):
    made = many_chunks(key)
    board = Slow(tmp_path, made)
    board.fetcher.start("other", 1, many_chunks(key, 10).digest, board.now)
    board.fetcher.message(topics.ManifestTopic("default", many_chunks(key, 10).digest), made.envelope, board.now)
    board.wait(0.1)
    assert board.link.asked == [-1]
