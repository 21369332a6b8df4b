"""Artifacts on a real broker."""

import asyncio
import hashlib
from collections import Counter

import pytest

from litefleet_controller.delivery.artifacts import ALL_MANIFESTS, ArtifactPublisher
from litefleet_controller.delivery.devices import DeviceRef
from litefleet_controller.delivery.errors import LinkDownError
from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.need import Gathering, NeedAnswerer
from litefleet_controller.identity.signing import Ed25519Signer
from litefleet_protocol import codec, topics
from litefleet_protocol.chunks import chunk_hash, cut
from litefleet_protocol.envelope import PayloadType, seal
from litefleet_protocol.messages import ArtifactFile, ArtifactManifest, Need
from litefleet_protocol.tensors import Signature
from tests.controller.delivery.conftest import Mailbox, OpenLink, PlainBroker, until


class Source:
    """One artifact in memory; counts what is read. Implements ArtifactSource."""

    def __init__(self, data: bytes, signer: Ed25519Signer) -> None:
        self.chunks = list(cut([data]))
        self._manifest = ArtifactManifest(
            namespace="default",
            model="digits",
            version="digits-v1",
            device_class="rpi-4",
            variant="int8",
            files=(
                ArtifactFile(name="model.tflite", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data)),
            ),
            chunk_bytes=65536,
            chunks=tuple(chunk_hash(c) for c in self.chunks),
            signature=Signature(inputs=(), outputs=()),
        )
        payload = codec.encode(self._manifest)
        self.digest = f"sha256:{hashlib.sha256(payload).hexdigest()}"
        self._envelope = seal(PayloadType.ARTIFACT, payload, [signer])
        self.read: Counter[int] = Counter()

    async def envelope(self, digest: str) -> bytes:
        assert digest == self.digest
        self.read[-1] += 1
        return self._envelope

    async def manifest(self, digest: str) -> ArtifactManifest:
        if digest != self.digest:
            raise FileNotFoundError(digest)
        return self._manifest

    async def chunk(self, digest: str, index: int) -> bytes:
        self.read[index] += 1
        return self.chunks[index]

    def topic(self, index: int) -> str:
        if index == -1:
            return topics.manifest("default", self.digest)
        return topics.chunk("default", self.digest, index)


class Boards:
    """Boards of two namespaces. Implements Devices."""

    async def locate(self, device: str) -> DeviceRef | None:
        if device.startswith("stranger"):
            return None
        return DeviceRef("other" if device.startswith("other") else "default", device, "rpi-4")


@pytest.fixture
def source(signer: Ed25519Signer) -> Source:
    return Source(b"".join(hashlib.sha256(bytes([i])).digest() * 1024 for i in range(10)), signer)


async def test_all_of_it_is_there_for_a_board_that_comes_later(open_link: OpenLink, source: Source) -> None:
    publisher = ArtifactPublisher(await open_link("controller"), source)
    await publisher.ensure("default", source.digest)
    late = await open_link("late")
    box = Mailbox(late)
    await late.subscribe(f"{topics.ROOT}/a/default/#")
    await until(lambda: len(box.messages) == len(source.chunks) + 1, "manifest and chunks arrive")
    assert [box.on(source.topic(i)) for i in range(len(source.chunks))] == [[c] for c in source.chunks]


async def test_ensuring_it_for_a_hundred_boards_publishes_it_once(open_link: OpenLink, source: Source) -> None:
    publisher = ArtifactPublisher(await open_link("controller"), source)
    await asyncio.gather(*(publisher.ensure("default", source.digest) for _ in range(100)))
    await publisher.ensure("default", source.digest)
    assert source.read == dict.fromkeys(range(-1, len(source.chunks)), 1)


async def test_after_the_broker_lost_its_memory_ensuring_publishes_again(
    open_link: OpenLink, source: Source, broker: PlainBroker
) -> None:
    link = await open_link("controller")
    publisher = ArtifactPublisher(link, source)
    await publisher.ensure("default", source.digest)
    broker.kill()
    await until(lambda: not link.state.value.connected, "the loss is noticed")
    with pytest.raises(LinkDownError):
        await publisher.ensure("default", source.digest)
    broker.start()
    await until(lambda: link.state.value.connected, "it reconnects")
    await publisher.ensure("default", source.digest)
    late = await open_link("late")
    box = Mailbox(late)
    await late.subscribe(f"{topics.ROOT}/a/#")
    await until(lambda: len(box.messages) == len(source.chunks) + 1, "everything is there again")


async def test_a_caller_that_gives_up_does_not_stop_the_publish_others_wait_for(
    open_link: OpenLink, source: Source, broker: PlainBroker
) -> None:
    publisher = ArtifactPublisher(await open_link("controller", ack_timeout_s=60.0), source)
    broker.freeze()
    impatient = asyncio.create_task(publisher.ensure("default", source.digest))
    patient = asyncio.create_task(publisher.ensure("default", source.digest))
    await until(lambda: publisher.is_publishing(("default", source.digest)), "it begins")
    impatient.cancel()
    broker.thaw()
    await asyncio.wait_for(patient, 10)


async def _retained(open_link: OpenLink, name: str) -> set[str]:
    """Topics under a/ that the broker holds now: all that comes before a message published after subscribing."""
    link, other = await open_link(name), await open_link(f"{name}-marker")
    box = Mailbox(link)
    await link.subscribe(f"{topics.ROOT}/a/#")
    await link.subscribe("end")
    await other.publish("end", b"x")
    await until(lambda: box.on("end"), "the marker arrives")
    return {m.topic for m in box.messages if m.retain}


async def test_a_sweep_clears_what_is_not_in_use(open_link: OpenLink, source: Source) -> None:
    now = [0.0]
    publisher = ArtifactPublisher(await open_link("controller"), source, monotonic=lambda: now[0])
    await publisher.ensure("default", source.digest)
    assert len(await _retained(open_link, "before")) == len(source.chunks) + 1
    now[0] += 3600
    assert await publisher.sweep(set()) == 1
    assert await _retained(open_link, "after") == set()


async def test_a_sweep_leaves_what_is_in_use_or_was_just_ensured(open_link: OpenLink, source: Source) -> None:
    now = [0.0]
    publisher = ArtifactPublisher(await open_link("controller"), source, monotonic=lambda: now[0])
    await publisher.ensure("default", source.digest)
    assert await publisher.sweep(set()) == 0  # its assignment is about to be committed
    now[0] += 3600
    assert await publisher.sweep({("default", source.digest)}) == 0


async def test_a_sweep_leaves_what_is_ensured_while_it_clears_others(open_link: OpenLink, source: Source) -> None:
    now = [0.0]
    publisher = ArtifactPublisher(await open_link("controller"), source, monotonic=lambda: now[0])
    await publisher.ensure("default", source.digest)
    publisher.found("another", source.digest, await source.envelope(source.digest))  # swept first, by its name
    now[0] += 3600
    sweeping = asyncio.create_task(publisher.sweep(set()))
    await asyncio.sleep(0)
    await publisher.ensure("default", source.digest)
    assert await sweeping == 1
    assert len(await _retained(open_link, "after")) == len(source.chunks) + 1


async def test_a_new_controller_sweeps_what_an_old_one_left_on_the_broker(open_link: OpenLink, source: Source) -> None:
    old = await open_link("old")
    await ArtifactPublisher(old, source).ensure("default", source.digest)
    new = await open_link("new")
    publisher = ArtifactPublisher(new, source)
    boards = Boards()
    need = NeedAnswerer(publisher, boards, _nothing_in_use)
    ingest = Ingest(new, "f", Sinks(None, None, need, publisher, {}))  # type: ignore[arg-type]
    reading = asyncio.create_task(ingest.run())
    await until(lambda: publisher._partly, "the manifest is found")
    assert await publisher.sweep(set()) == 1
    assert await _retained(open_link, "after") == set()
    reading.cancel()


async def _nothing_in_use() -> set[tuple[str, str]]:
    return set()


async def test_a_thousand_boards_that_miss_the_same_chunk_get_it_with_one_publish(
    open_link: OpenLink, source: Source
) -> None:
    async def in_use() -> set[tuple[str, str]]:
        return {("default", source.digest)}

    publisher = ArtifactPublisher(await open_link("controller"), source)
    await publisher.ensure("default", source.digest)
    source.read.clear()
    answerer = NeedAnswerer(publisher, Boards(), in_use, Gathering(gather_s=0.05))
    board = await open_link("board")
    await board.publish(source.topic(3), b"", retain=True)
    box = Mailbox(board)
    await board.subscribe(source.topic(3))
    running = asyncio.create_task(answerer.run())
    for n in range(1000):
        answerer.need(f"board-{n}", Need(artifact=source.digest, chunks=(3,)))
    await until(lambda: box.messages, "the chunk arrives")
    for n in range(1000):  # those who ask while it is in the mail
        answerer.need(f"board-{n}", Need(artifact=source.digest, chunks=(3, 4)))
    await until(lambda: source.read[4], "the second round is answered")
    assert box.on(source.topic(3)) == [source.chunks[3]]
    assert source.read == {3: 1, 4: 1}
    running.cancel()


async def test_a_broker_that_nobody_knows_to_hold_the_rest_gets_all_of_it_after_one_request(
    open_link: OpenLink, source: Source, broker: PlainBroker
) -> None:
    async def in_use() -> set[tuple[str, str]]:
        return {("default", source.digest)}

    link = await open_link("controller")
    publisher = ArtifactPublisher(link, source)
    await publisher.ensure("default", source.digest)
    answerer = NeedAnswerer(publisher, Boards(), in_use, Gathering(gather_s=0.01))
    running = asyncio.create_task(answerer.run())
    broker.kill()
    await until(lambda: not link.state.value.connected, "the link is down")
    broker.start()
    await until(lambda: link.state.value.connected, "the link is up again")
    source.read.clear()
    answerer.need("board-1", Need(artifact=source.digest, chunks=(3,)))
    await until(lambda: publisher.holds(("default", source.digest)), "all of it is published")
    answerer.need("board-2", Need(artifact=source.digest, chunks=(3,)))
    await until(lambda: source.read[3] == 2, "from then on a piece is answered with that piece")
    assert await _retained(open_link, "late") == {source.topic(i) for i in range(-1, len(source.chunks))}
    assert {n for n in source.read.values() if n > 1} == {2}
    assert source.read.total() == len(source.chunks) + 2
    running.cancel()


async def test_the_manifest_can_be_missed_too(open_link: OpenLink, source: Source) -> None:
    async def in_use() -> set[tuple[str, str]]:
        return {("default", source.digest)}

    link = await open_link("controller")
    publisher = ArtifactPublisher(link, source)
    await publisher.ensure("default", source.digest)
    source.read.clear()
    await link.publish(source.topic(-1), b"", retain=True)
    answerer = NeedAnswerer(publisher, Boards(), in_use, Gathering(gather_s=0.01))
    running = asyncio.create_task(answerer.run())
    answerer.need("board-1", Need(artifact=source.digest, chunks=(-1,)))
    await until(lambda: source.read[-1], "the manifest is published")
    await until(lambda: source.read.total() == 1, "and nothing else")
    assert source.topic(-1) in await _retained(open_link, "late")
    running.cancel()


@pytest.mark.parametrize("device", ["other-1", "stranger-1"])
async def test_what_is_not_assigned_in_a_boards_namespace_is_not_published(
    open_link: OpenLink, source: Source, device: str
) -> None:
    async def in_use() -> set[tuple[str, str]]:
        return {("default", source.digest)}

    publisher = ArtifactPublisher(await open_link("controller"), source)
    answerer = NeedAnswerer(publisher, Boards(), in_use, Gathering(gather_s=0.01))
    running = asyncio.create_task(answerer.run())
    answerer.need(device, Need(artifact=source.digest, chunks=(1,)))
    await until(lambda: answerer.dropped, "the request is refused")
    assert answerer.dropped == {"NotAssigned": 1}
    assert not source.read
    running.cancel()


@pytest.mark.parametrize("chunks", [(-2,), (16_384,), (2**70,), tuple(range(257))])
async def test_chunks_that_can_not_be_are_dropped_and_counted(
    open_link: OpenLink, source: Source, chunks: tuple[int, ...]
) -> None:
    publisher = ArtifactPublisher(await open_link("controller"), source)
    answerer = NeedAnswerer(publisher, Boards(), _nothing_in_use)
    answerer.need("board-1", Need(artifact=source.digest, chunks=chunks))
    assert answerer.dropped == {"BadChunk": 1}


async def test_one_board_can_not_fill_the_queue_of_requests(open_link: OpenLink, source: Source) -> None:
    publisher = ArtifactPublisher(await open_link("controller"), source)
    answerer = NeedAnswerer(publisher, Boards(), _nothing_in_use)
    for n in range(6):
        answerer.need("greedy", Need(artifact=f"sha256:{n:064x}", chunks=tuple(range(256))))
    answerer.need("modest", Need(artifact=source.digest, chunks=(1,)))
    assert answerer.dropped == {"NeedQueueFull": 2}


async def test_a_failing_artifact_does_not_keep_the_others_from_their_answer(
    open_link: OpenLink, source: Source
) -> None:
    lost = f"sha256:{'0' * 64}"

    async def in_use() -> set[tuple[str, str]]:
        return {("default", source.digest), ("default", lost)}

    publisher = ArtifactPublisher(await open_link("controller"), source)
    answerer = NeedAnswerer(publisher, Boards(), in_use, Gathering(gather_s=0.01))
    running = asyncio.create_task(answerer.run())
    answerer.need("board-1", Need(artifact=lost, chunks=(0,)))
    answerer.need("board-1", Need(artifact=source.digest, chunks=(0,)))
    await until(lambda: source.read[0], "the other one is answered")
    running.cancel()


def test_the_subscription_for_manifests_matches_their_topics() -> None:
    levels = topics.manifest("default", f"sha256:{'a' * 64}").split("/")
    pattern = ALL_MANIFESTS.split("/")
    assert len(levels) == len(pattern)
    assert all(p in ("+", level) for p, level in zip(pattern, levels, strict=True))
