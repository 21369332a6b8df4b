"""Desired state out: one signed, retained message a board, asserted until the board echoes it.

The database is the truth and the broker a cache of it: at each connection and each epoch everything is published
anew, afterwards only what changes. A board that is online but keeps reporting an older epoch or counter gets its
message again, at growing intervals. What a board may run is decided elsewhere (rollout/); this only carries it.
"""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from litefleet_controller.delivery.assigned import AssignedView
from litefleet_controller.delivery.devices import Devices
from litefleet_controller.delivery.errors import LinkDownError, RefusedError
from litefleet_controller.delivery.interface import Link
from litefleet_controller.delivery.latest import Latest, both
from litefleet_controller.store.interface import Assignment, Assignments
from litefleet_controller.workqueue import WorkQueue
from litefleet_protocol import codec, topics
from litefleet_protocol.envelope import PayloadType, Signer, seal
from litefleet_protocol.messages import Desired, Gates, SlotDesired

log = structlog.get_logger(__name__)

Board = tuple[str, str]
"""(namespace, device)."""


@dataclass(frozen=True, slots=True)
class Echo:
    """What a board last said."""

    online: bool
    epoch: int = 0
    counter: int = 0


class Echoes(Protocol):
    """What boards report, from memory."""

    def echo(self, device: str) -> Echo | None:
        """None for a board that never said anything."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard to try."""

    workers: int = 8
    first_again_s: float = 5.0
    longest_again_s: float = 300.0
    tick_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Asserted:
    """What the broker was given for a board, and on which connection."""

    generation: int
    epoch: int
    counter: int
    device_class: str


def desired_message(
    fleet: str,
    namespace: str,
    device: str,
    device_class: str,
    epoch: int,
    counter: int,
    assignments: Sequence[Assignment],
) -> Desired:
    """The message that says what was assigned."""
    return Desired(
        fleet=fleet,
        namespace=namespace,
        device=device,
        device_class=device_class,
        epoch=epoch,
        counter=counter,
        slots={a.slot: _slot(a) for a in assignments},
    )


def _slot(assignment: Assignment) -> SlotDesired:
    return SlotDesired(
        artifact=assignment.artifact,
        version=assignment.version,
        rollout=assignment.rollout,
        gates=Gates(max_latency_ms=assignment.max_latency_ms, max_memory_bytes=assignment.max_memory_bytes),
        probation_seconds=assignment.probation_s,
        fallback=assignment.fallback,
        deadline_seconds=assignment.deadline_s,
    )


class DesiredPublisher:
    """Keeps what the broker holds for each board equal to the database, and pushes until it is echoed."""

    def __init__(
        self,
        link: Link,
        fleet: str,
        assignments: Assignments,
        devices: Devices,
        signer: Signer,
        epoch: Latest[int | None],
        echoes: Echoes,
        assigned: AssignedView,
        pace: Pace = Pace(),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._fleet = fleet
        self._assignments = assignments
        self._devices = devices
        self._signer = signer
        self._epoch = epoch
        self._echoes = echoes
        self._pace = pace
        self._monotonic = monotonic
        self._work: WorkQueue[Board] = WorkQueue()
        self._again: set[Board] = set()
        self._asserted: dict[Board, _Asserted] = {}
        self._assigned = assigned
        self._due: list[tuple[float, float, Board]] = []
        self._watched: dict[Board, float] = {}

    def touch(self, namespace: str, device: str) -> None:
        """Something about the board changed (its class, say): publish its message if it became another one."""
        self._work.add((namespace, device))

    async def forget(self, namespace: str, device: str) -> None:
        """Clear what the broker holds of a board that is no more, what it wrote itself included.

        Raises: LinkDownError, RefusedError.
        """
        self._asserted.pop((namespace, device), None)
        self._assigned.forget(device)
        self._watched.pop((namespace, device), None)
        for topic in (
            topics.down(device, topics.Down.DESIRED),
            topics.up(device, topics.Up.REPORTED),
            topics.up(device, topics.Up.PRESENCE),
        ):
            await self._link.publish(topic, b"", retain=True)

    async def publish(self, namespace: str, device: str, *, again: bool = False) -> bool:
        """Publish a board's message, unless the broker has just this one (`again`: even then). Whether it was sent.

        Raises: LinkDownError, RefusedError; and what the store raises.
        """
        epoch = self._epoch.value
        where = await self._devices.locate(device)
        if epoch is None or where is None or where.namespace != namespace:
            return False
        counter, assignments = await self._assignments.of_device(namespace, device)
        if counter == 0:
            return False
        stamp = _Asserted(self._link.state.value.generation, epoch, counter, where.device_class)
        if not again and self._asserted.get((namespace, device)) == stamp:
            return False
        message = desired_message(self._fleet, namespace, device, where.device_class, epoch, counter, assignments)
        payload = seal(PayloadType.DESIRED, codec.encode(message), [self._signer])
        await self._link.publish(topics.down(device, topics.Down.DESIRED), payload, retain=True)
        self._asserted[namespace, device] = stamp
        self._assigned.keep(device, assignments)
        return True

    async def run(self) -> None:
        """Until cancelled."""
        # Taken before all boards are read, so that no change falls in between.
        changes = self._assignments.changes()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_connections(), name="desired-connections")
                tasks.create_task(self._follow_changes(changes), name="desired-changes")
                tasks.create_task(self._follow_echoes(), name="desired-echoes")
                for n in range(self._pace.workers):
                    tasks.create_task(self._work_off(), name=f"desired-{n}")
        finally:
            await changes.aclose()

    async def _follow_connections(self) -> None:
        done: tuple[int, int] | None = None
        async for state, epoch in both(self._link.state, self._epoch):
            if not state.connected or epoch is None or done == (state.generation, epoch):
                continue
            boards = await self._all_boards()
            done = (state.generation, epoch)
            for namespace, device, _ in boards:
                self._work.add((namespace, device))
            log.info("desired_asserted", boards=len(boards), epoch=epoch, generation=state.generation)

    async def _all_boards(self) -> Sequence[tuple[str, str, int]]:
        while True:
            try:
                return await self._assignments.devices()
            except Exception:
                # A database that can't answer now must not end the assertion of desired state for ever.
                log.exception("desired_boards_unread")
                await asyncio.sleep(self._pace.first_again_s)

    async def _follow_changes(self, changes: AsyncIterator[Board]) -> None:
        async for namespace, device in changes:
            self._work.add((namespace, device))

    async def _follow_echoes(self) -> None:
        while True:
            await asyncio.sleep(self._pace.tick_s)
            self.push_laggards()

    def push_laggards(self) -> None:
        """Queue, again, the message of each board that is due, online, and behind what it was sent."""
        now = self._monotonic()
        while self._due and self._due[0][0] <= now:
            due, interval, board = heapq.heappop(self._due)
            asserted = self._asserted.get(board)
            if self._watched.get(board) != due or asserted is None:
                continue
            echo = self._echoes.echo(board[1])
            if echo is not None and (echo.epoch, echo.counter) >= (asserted.epoch, asserted.counter):
                del self._watched[board]
                continue
            if echo is not None and echo.online:
                self._again.add(board)
                self._work.add(board)
            self._watch(board, min(self._pace.longest_again_s, interval * 2))

    def _watch(self, board: Board, interval_s: float) -> None:
        due = self._monotonic() + interval_s
        self._watched[board] = due
        heapq.heappush(self._due, (due, interval_s, board))

    async def _work_off(self) -> None:
        while True:
            board = await self._work.get()
            again = board in self._again
            self._again.discard(board)
            try:
                if await self.publish(*board, again=again) and not again:
                    self._watch(board, self._pace.first_again_s)
            except LinkDownError:
                pass  # the next connection asserts everything
            except RefusedError as e:
                log.error("desired_refused", namespace=board[0], device=board[1], error=str(e))  # noqa: TRY400
                self._work.add_after(board, self._pace.longest_again_s)
            except Exception:
                log.exception("desired_unpublished", namespace=board[0], device=board[1])
                self._work.add_after(board, self._pace.first_again_s)
            finally:
                self._work.done(board)
