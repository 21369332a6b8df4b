"""Fetching artifacts: retained chunks through a small window of exact subscriptions, resumed from the disk.

A retained topic that isn't there answers with silence, so each awaited topic has a deadline with jitter; past it the
device asks on `need`, ever more patiently. A slow link is silent for long, too, and asking for what is on its way would
bring it twice: so the time that chunks take is learned, what arrives puts off what comes behind it, and a link that was
down begins anew. What arrives damaged is asked for at once, for the broker holds nothing better.

Chunks are proven by the hash in the manifest, the manifest by the digest in the signed desired state. Runs on the main
loop: `start`, `message`, `tick`, `stop`; tells of its progress by events.
"""

from collections.abc import Callable

from msgspec import Struct, field

from litefleet_agent import events as ev
from litefleet_agent.errors import AgentError
from litefleet_agent.fileio import is_full
from litefleet_agent.interface import Link
from litefleet_agent.logs import EventLog
from litefleet_agent.slots import ArtifactFolder, Slots, read_manifest
from litefleet_protocol import chunks, codec, topics
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import CHUNK_WINDOW, MAX_NEED
from litefleet_protocol.messages import ArtifactManifest, Need

log = EventLog(__name__)
MANIFEST = -1
"""The manifest's index in `need`."""


class Patience(Struct, frozen=True):
    """How long silence is borne: `first_s` plus up to as much again, doubled with every `need` up to `longest_s`."""

    first_s: float = 3.0
    """A chunk at 175 kbit/s; on slower links the first few are asked for in vain before the pace is known."""
    longest_s: float = 60.0
    paces: float = 3.0
    """At least so many times what a chunk takes."""


class _Awaited(Struct):
    deadline: float
    patience_s: float
    asked: float
    """When it was last subscribed to or asked for."""
    damaged: bool = False
    """Whether it has arrived, and wasn't what it should be."""


class _Transfer(Struct):
    slot: str
    ticket: int
    digest: str
    folder: ArtifactFolder
    manifest: ArtifactManifest | None = None
    held: set[int] = field(default_factory=set)
    awaited: dict[int, _Awaited] = {}
    heard: float = float("-inf")
    """When a part last arrived."""


class Fetcher:
    """The transfers that are under way, at most one a slot."""

    def __init__(
        self,
        slots: Slots,
        link: Link,
        *,
        device: str,
        namespace: str,
        emit: Callable[[ev.Event], None],
        random: Callable[[], float],
        patience: Patience = Patience(),
        fits: Callable[[ArtifactManifest], None] = lambda _: None,
    ) -> None:
        """`fits` raises AgentError for an artifact that this board could not run, before its chunks are fetched."""
        self._slots = slots
        self._link = link
        self._device = device
        self._namespace = namespace
        self._emit = emit
        self._random = random
        self._patience = patience
        self._fits = fits
        self._transfers: dict[str, _Transfer] = {}
        self._pace_s = 0.0
        self._was_down = False
        self.dropped = 0
        """Messages that were not what they should be."""

    def start(self, slot: str, ticket: int, digest: str, now: float) -> None:
        """Bring an artifact to the disk; at once `Fetched` when it is there already."""
        self.stop(slot)
        try:
            if self._slots.holds(digest):
                self._emit(ev.Fetched(slot, ticket))
                return
            transfer = _Transfer(slot, ticket, digest, self._slots.reopen(digest))
            self._transfers[slot] = transfer
            if not self._resume(transfer, now):
                self._await(transfer, MANIFEST, now)
        except (OSError, AgentError) as e:
            self._fail(slot, ticket, e)

    def stop(self, slot: str) -> None:
        """Drop a slot's transfer; what has arrived stays on the disk."""
        transfer = self._transfers.pop(slot, None)
        if transfer is not None:
            for index in list(transfer.awaited):
                self._release(transfer, index)

    def message(self, topic: topics.ManifestTopic | topics.ChunkTopic, payload: bytes, now: float) -> None:
        """Take in an artifact's message. An empty one says that the broker no longer holds it."""
        index = topic.index if isinstance(topic, topics.ChunkTopic) else MANIFEST
        self._notice_return(now)
        for transfer in list(self._transfers.values()):
            wanted = transfer.digest == topic.digest and index in transfer.awaited
            if not wanted or topic.namespace != self._namespace or not payload:
                continue
            self._heard(transfer, transfer.awaited[index], now)
            try:
                if index == MANIFEST:
                    self._take_manifest(transfer, payload, now)
                else:
                    self._take_chunk(transfer, index, payload, now)
            except ProtocolError as e:
                self.dropped += 1
                log.warning("part_dropped", part=index, artifact=topic.digest, error=e)
                self._ask_at_once(transfer, index, now)
            except (OSError, AgentError) as e:
                self.stop(transfer.slot)
                self._fail(transfer.slot, transfer.ticket, e)

    def tick(self, now: float) -> None:
        """Ask for what has been silent too long. While the link is down silence means nothing."""
        if not self._link.connected:
            self._was_down = True
            return
        self._notice_return(now)
        for transfer in self._transfers.values():
            late = [index for index, awaited in transfer.awaited.items() if now >= awaited.deadline]
            if not late:
                continue
            need = Need(artifact=transfer.digest, chunks=tuple(sorted(late)[:MAX_NEED]))
            self._link.publish(topics.up(self._device, topics.Up.NEED), codec.encode(need))
            for index in late:
                awaited = transfer.awaited[index]
                awaited.patience_s = min(awaited.patience_s * 2, self._patience.longest_s)
                awaited.deadline = now + self._with_jitter(awaited.patience_s)
                awaited.asked = now

    def _ask_at_once(self, transfer: _Transfer, index: int, now: float) -> None:
        """Only the first time: who sends nothing but rubbish must not make the board ask as fast as it comes."""
        awaited = transfer.awaited.get(index)
        if awaited is not None and not awaited.damaged:
            awaited.damaged = True
            awaited.deadline = now

    def _heard(self, transfer: _Transfer, arrived: _Awaited, now: float) -> None:
        """Learn what a part takes on this link, and put off what is awaited behind it.

        A part takes the time since the one before it, or since it was asked for: the silence before a `need` that was
        justified is none of the link's.
        """
        took = now - max(arrived.asked, transfer.heard)
        self._pace_s = max(took, self._pace_s * 0.9)
        transfer.heard = now
        self._put_off(transfer, now)

    def _notice_return(self, now: float) -> None:
        """After the link was down every subscription is made anew: nothing has been silent yet."""
        if not self._was_down:
            return
        self._was_down = False
        for transfer in self._transfers.values():
            transfer.heard = now
            self._put_off(transfer, now)

    def _put_off(self, transfer: _Transfer, now: float) -> None:
        for awaited in transfer.awaited.values():
            if awaited.damaged and awaited.deadline <= now:
                continue  # it is to be asked for, and not for its silence
            awaited.patience_s = max(awaited.patience_s, self._first_patience_s())
            awaited.deadline = max(awaited.deadline, now + self._with_jitter(awaited.patience_s))

    def _first_patience_s(self) -> float:
        learned = min(self._pace_s * self._patience.paces, self._patience.longest_s)
        return max(self._patience.first_s, learned)

    def _resume(self, transfer: _Transfer, now: float) -> bool:
        sealed = transfer.folder.sealed_manifest()
        if sealed is None:
            return False
        try:
            manifest = read_manifest(transfer.digest, sealed)
        except ProtocolError:
            return False
        self._begin_chunks(transfer, manifest, now)
        return True

    def _take_manifest(self, transfer: _Transfer, payload: bytes, now: float) -> None:
        manifest = read_manifest(transfer.digest, payload)
        transfer.folder.keep_manifest(payload)
        self._release(transfer, MANIFEST)
        self._begin_chunks(transfer, manifest, now)

    def _begin_chunks(self, transfer: _Transfer, manifest: ArtifactManifest, now: float) -> None:
        self._fits(manifest)
        transfer.manifest = manifest
        transfer.held = transfer.folder.held_chunks(manifest)
        self._slots.room_for(chunks.total_size(manifest) - len(transfer.held) * manifest.chunk_bytes)
        if transfer.held:
            log.info("fetch_resumed", slot=transfer.slot, held=len(transfer.held), chunks=len(manifest.chunks))
        self._progress(transfer, manifest, now)

    def _take_chunk(self, transfer: _Transfer, index: int, payload: bytes, now: float) -> None:
        manifest = transfer.manifest
        if manifest is None:
            return
        start, _end = chunks.check_chunk(manifest, index, payload)
        transfer.folder.write_chunk(manifest, start, payload)
        transfer.held.add(index)
        self._release(transfer, index)
        self._progress(transfer, manifest, now)

    def _progress(self, transfer: _Transfer, manifest: ArtifactManifest, now: float) -> None:
        total = len(manifest.chunks)
        self._emit(ev.FetchProgressed(transfer.slot, transfer.ticket, len(transfer.held), total))
        if len(transfer.held) == total and self._finish(transfer, manifest):
            del self._transfers[transfer.slot]
            self._emit(ev.Fetched(transfer.slot, transfer.ticket))
            return
        for index in chunks.missing(total, transfer.held, CHUNK_WINDOW):
            if index not in transfer.awaited:
                self._await(transfer, index, now)

    def _finish(self, transfer: _Transfer, manifest: ArtifactManifest) -> bool:
        """Put the artifact in its place; False when chunks went bad on the disk after they had been checked."""
        try:
            self._slots.finish(transfer.digest, manifest)
        except AgentError as e:
            transfer.held = transfer.folder.held_chunks(manifest)
            if len(transfer.held) == len(manifest.chunks):
                raise AgentError(
                    Code.BAD_MESSAGE, f"a manifest at odds with itself: every chunk is right, but {e}"
                ) from e
            return False
        return True

    def _await(self, transfer: _Transfer, index: int, now: float) -> None:
        patience = self._first_patience_s()
        transfer.awaited[index] = _Awaited(now + self._with_jitter(patience), patience, asked=now)
        self._link.subscribe(self._topic(transfer, index))

    def _release(self, transfer: _Transfer, index: int) -> None:
        del transfer.awaited[index]
        topic = self._topic(transfer, index)
        shared = (t for t in self._transfers.values() if t is not transfer and t.digest == transfer.digest)
        if not any(index in other.awaited for other in shared):
            self._link.unsubscribe(topic)

    def _topic(self, transfer: _Transfer, index: int) -> str:
        if index == MANIFEST:
            return topics.manifest(self._namespace, transfer.digest)
        return topics.chunk(self._namespace, transfer.digest, index)

    def _with_jitter(self, seconds: float) -> float:
        return seconds * (1 + self._random())

    def _fail(self, slot: str, ticket: int, error: OSError | AgentError) -> None:
        self._transfers.pop(slot, None)
        full = isinstance(error, OSError) and is_full(error)
        code = Code.DISK_FULL if full else getattr(error, "code", Code.INTERNAL)
        self._emit(ev.StepFailed(slot, ticket, str(code), str(error)))
