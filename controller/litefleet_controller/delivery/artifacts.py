"""Artifacts out: a signed manifest and its chunks, retained, published once for all boards.

The broker fans out and serves late joiners; this process pays the same for one board and for a hundred thousand. What
nobody needs any more is cleared, because retained messages live in the broker's memory until then. What a broker lost
is brought back by need.py, board by board's wish. Callers are the reconcilers: `ensure` before something is assigned,
`sweep` now and then.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol
from weakref import WeakValueDictionary

import msgspec
import structlog

from litefleet_controller.delivery.interface import Link
from litefleet_protocol import topics
from litefleet_protocol.envelope import Envelope
from litefleet_protocol.limits import MAX_CHUNKS
from litefleet_protocol.messages import ArtifactManifest

log = structlog.get_logger(__name__)

Artifact = tuple[str, str]
"""(namespace, digest of the manifest)."""
MANIFEST = -1
"""The manifest, where chunks are numbered."""
ALL_MANIFESTS = f"{topics.ROOT}/a/+/+/manifest"
"""What to subscribe to in order to learn what a broker holds from before."""
_PARALLEL = 12
"""Chunks under way at once: below the link's window, so that desired state and acks find room."""
_GRACE_S = 300.0
"""`ensure` comes before the assignment; a sweep in between must not undo it."""


class ArtifactSource(Protocol):
    """Where artifacts come from."""

    async def envelope(self, digest: str) -> bytes:
        """The signed manifest, as it goes on the wire."""
        ...

    async def manifest(self, digest: str) -> ArtifactManifest:
        """The manifest."""
        ...

    async def chunk(self, digest: str, index: int) -> bytes:
        """One chunk."""
        ...


class ArtifactPublisher:
    """Publishes and clears, and remembers what this connection's broker holds."""

    def __init__(self, link: Link, source: ArtifactSource, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._source = source
        self._monotonic = monotonic
        self._room = asyncio.Semaphore(_PARALLEL)
        self._held: dict[Artifact, int] = {}
        """What the broker holds whole, published on this connection, with the number of chunks."""
        self._generation = 0
        self._partly: dict[Artifact, int] = {}
        """What the broker may hold some of: from before this process or this connection, or not finished."""
        self._ensured: dict[Artifact, float] = {}
        self._publishing: dict[Artifact, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[Artifact, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, namespace: str, digest: str) -> None:
        """Have the broker hold all of an artifact. At once when it does so already, as far as is known.

        Raises: LinkDownError, RefusedError; and what the source raises.
        """
        artifact = (namespace, digest)
        self._ensured[artifact] = self._monotonic()
        if artifact in self._holding():
            return
        task = self._publishing.get(artifact)
        if task is None:
            task = asyncio.create_task(self._publish_all(artifact), name=f"artifact-{digest[7:19]}")
            self._publishing[artifact] = task
            task.add_done_callback(lambda done: self._published(artifact, done))
        # One caller that gives up must not stop the publish that others wait for.
        await asyncio.shield(task)

    def holds(self, artifact: Artifact) -> bool:
        """Whether the broker is known to hold all of it: published whole, on this connection."""
        return artifact in self._holding()

    def is_publishing(self, artifact: Artifact) -> bool:
        """Whether all of it is on its way."""
        return artifact in self._publishing

    async def publish_pieces(self, artifact: Artifact, indices: Iterable[int]) -> None:
        """Publish some chunks (or the manifest), whether the broker has them or not. Indices past the end are skipped.

        Raises: LinkDownError, RefusedError; and what the source raises.
        """
        count = len((await self._source.manifest(artifact[1])).chunks)
        if artifact not in self._holding():
            self._partly[artifact] = count
        await self._in_parallel(self._publish_piece(artifact, i) for i in indices if i < count)

    def found(self, namespace: str, digest: str, envelope: bytes) -> None:
        """The broker turned out to hold an artifact from before; `sweep` clears it when it isn't in use."""
        artifact = (namespace, digest)
        if envelope and artifact not in self._holding() and artifact not in self._publishing:
            self._partly[artifact] = _chunks_in(envelope)

    async def clear(self, namespace: str, digest: str) -> None:
        """Have the broker forget an artifact.

        Raises: LinkDownError, RefusedError.
        """
        artifact = (namespace, digest)
        async with self._turn(artifact):
            count = max(self._holding().pop(artifact, 0), self._partly.get(artifact, 0))
            # The manifest last: as long as it is there, a restarted controller can see that there is something left.
            await self._in_parallel(
                self._link.publish(topics.chunk(namespace, digest, i), b"", retain=True) for i in range(count)
            )
            await self._link.publish(topics.manifest(namespace, digest), b"", retain=True)
            self._partly.pop(artifact, None)
            self._ensured.pop(artifact, None)
        log.info("artifact_cleared", namespace=namespace, artifact=digest, chunks=count)

    async def sweep(self, in_use: set[Artifact]) -> int:
        """Clear everything that the broker is known to hold and that isn't in use; how many artifacts that was.

        Raises: LinkDownError, RefusedError.
        """
        since = self._monotonic() - _GRACE_S
        fresh = {a for a, at in self._ensured.items() if at > since}
        known = self._holding().keys() | self._partly.keys()
        unused = sorted(known - in_use - fresh - self._publishing.keys())
        cleared = 0
        for artifact in unused:
            # Asked anew for each: while the ones before it were cleared, a rollout may have come to want this one.
            if self._ensured.get(artifact, since) > since:
                continue
            await self.clear(*artifact)
            cleared += 1
        return cleared

    async def close(self) -> None:
        """Stop what is under way."""
        under_way = list(self._publishing.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _holding(self) -> dict[Artifact, int]:
        """What the broker holds. Without a connection nobody knows, and the next one may lead to one that lost it."""
        state = self._link.state.value
        generation = state.generation if state.connected else -1
        if generation != self._generation:
            self._partly.update(self._held)
            self._held = {}
            self._generation = generation
        return self._held

    def _turn(self, artifact: Artifact) -> asyncio.Lock:
        """Publishing and clearing the same artifact take turns."""
        lock = self._turns.get(artifact)
        if lock is None:
            lock = self._turns[artifact] = asyncio.Lock()
        return lock

    async def _publish_all(self, artifact: Artifact) -> None:
        async with self._turn(artifact):
            self._holding()
            generation = self._generation
            count = len((await self._source.manifest(artifact[1])).chunks)
            self._partly[artifact] = count
            await self._in_parallel(self._publish_piece(artifact, i) for i in range(MANIFEST, count))
            holding = self._holding()
            if self._generation == generation:
                holding[artifact] = count
                self._partly.pop(artifact, None)
        log.info("artifact_published", namespace=artifact[0], artifact=artifact[1], chunks=count)

    def _published(self, artifact: Artifact, task: asyncio.Task[None]) -> None:
        self._publishing.pop(artifact, None)
        if not task.cancelled():
            task.exception()  # every caller may have given up; who waits still gets it

    async def _publish_piece(self, artifact: Artifact, index: int) -> None:
        namespace, digest = artifact
        if index == MANIFEST:
            topic, payload = topics.manifest(namespace, digest), await self._source.envelope(digest)
        else:
            topic, payload = topics.chunk(namespace, digest, index), await self._source.chunk(digest, index)
        await self._link.publish(topic, payload, retain=True)

    async def _in_parallel(self, pieces: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run them, so many at a time; the first failure stops the rest and is raised as itself."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for piece in pieces:
                    try:
                        await self._room.acquire()
                    except BaseException:
                        piece.close()
                        raise
                    tasks.create_task(piece).add_done_callback(lambda _: self._room.release())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None


class _Chunks(msgspec.Struct):
    chunks: list[str]


def _chunks_in(envelope: bytes) -> int:
    """How many chunks a manifest on the wire has, whoever signed it: only to clear as many topics."""
    try:
        payload = base64.b64decode(msgspec.json.decode(envelope, type=Envelope).payload)
        return min(MAX_CHUNKS, len(msgspec.json.decode(payload, type=_Chunks).chunks))
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, RecursionError):
        return 0
