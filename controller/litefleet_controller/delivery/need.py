"""What boards miss: pieces of artifacts that the broker didn't answer for.

After a broker lost its memory a thousand boards ask for the same chunks within seconds. Requests are gathered for a
moment and each piece is published once, retained, for all who asked and all who will. Only what is assigned in the
board's own namespace is answered: a board can't make the controller publish anything else.

What misses one piece on a broker that nobody knows to hold the rest most probably misses them all, and each silence
costs a board seconds: there all of the artifact is published, once a connection.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from litefleet_controller.delivery.artifacts import MANIFEST, Artifact, ArtifactPublisher
from litefleet_controller.delivery.devices import Devices
from litefleet_controller.delivery.errors import LinkDownError
from litefleet_protocol.codes import Code
from litefleet_protocol.limits import MAX_CHUNKS, MAX_NEED
from litefleet_protocol.messages import Need
from litefleet_protocol.names import is_digest

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gathering:
    """How requests become publishes."""

    gather_s: float = 0.2
    """From the first request to the publish, so that the others' requests join."""
    quiet_s: float = 5.0
    """A piece published that recently isn't published again: who asked meanwhile has it in the mail."""
    max_pieces: int = 65_536
    """Asked for and not published yet; more are dropped, and asked for again."""
    max_pieces_per_board: int = 1_024


class NeedAnswerer:
    """Gathers `need` messages and answers them. `run()` does the work."""

    def __init__(
        self,
        artifacts: ArtifactPublisher,
        devices: Devices,
        in_use: Callable[[], Awaitable[set[Artifact]]],
        gathering: Gathering = Gathering(),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`in_use` gives every (namespace, digest) that is assigned, or a fallback of something assigned."""
        self._artifacts = artifacts
        self._devices = devices
        self._in_use = in_use
        self._gathering = gathering
        self._monotonic = monotonic
        self._asked: dict[tuple[str, str], set[int]] = {}
        """(device, digest) to pieces."""
        self._asked_by: Counter[str] = Counter()
        self._some = asyncio.Event()
        self._sent: dict[tuple[Artifact, int], float] = {}
        self.dropped: Counter[str] = Counter()
        """Requests not answered, by reason."""

    def need(self, device: str, need: Need) -> None:
        """Take a request."""
        pieces = {i for i in need.chunks if MANIFEST <= i < MAX_CHUNKS}
        if not is_digest(need.artifact) or len(need.chunks) > MAX_NEED or len(pieces) < len(set(need.chunks)):
            self.dropped[Code.BAD_CHUNK] += 1
        elif (
            self._asked_by.total() + len(pieces) > self._gathering.max_pieces
            or self._asked_by[device] + len(pieces) > self._gathering.max_pieces_per_board
        ):
            self.dropped["NeedQueueFull"] += 1
        elif pieces:
            self._asked.setdefault((device, need.artifact), set()).update(pieces)
            self._asked_by[device] += len(pieces)
            self._some.set()

    async def run(self) -> None:
        """Answer. Until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(self._gathering.gather_s)
            self._some.clear()
            asked, self._asked, self._asked_by = self._asked, {}, Counter()
            try:
                wanted = await self._permitted(asked)
            except Exception:
                log.exception("need_unchecked")
                continue
            for artifact, indices in wanted.items():
                try:
                    await self._answer(artifact, indices)
                except LinkDownError:
                    break  # boards ask again
                except Exception:
                    # The edge of the loop: one artifact's trouble isn't the others'.
                    log.exception("need_unanswered", artifact=artifact[1])

    async def _permitted(self, asked: dict[tuple[str, str], set[int]]) -> dict[Artifact, set[int]]:
        """The pieces that all boards ask for together, of what is in use where they belong."""
        in_use = await self._in_use()
        wanted: dict[Artifact, set[int]] = {}
        for (device, digest), indices in asked.items():
            where = await self._devices.locate(device)
            if where is None or (where.namespace, digest) not in in_use:
                self.dropped["NotAssigned"] += 1
                continue
            wanted.setdefault((where.namespace, digest), set()).update(indices)
        return wanted

    async def _answer(self, artifact: Artifact, indices: set[int]) -> None:
        if self._artifacts.is_publishing(artifact):
            return
        if not self._artifacts.holds(artifact):
            await self._artifacts.ensure(*artifact)
            log.info("need_answered_with_all", namespace=artifact[0], artifact=artifact[1], pieces=len(indices))
            return
        now = self._monotonic()
        self._sent = {piece: at for piece, at in self._sent.items() if at > now - self._gathering.quiet_s}
        due = sorted(i for i in indices if (artifact, i) not in self._sent)
        await self._artifacts.publish_pieces(artifact, due)
        self._sent.update({(artifact, i): now for i in due})
        log.info("need_answered", namespace=artifact[0], artifact=artifact[1], pieces=len(due))
