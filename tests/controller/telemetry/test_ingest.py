"""From bytes to durable rows and acknowledgements."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.ingest import Batching, TelemetryIngest
from litefleet_controller.telemetry.rows import WINDOWS
from litefleet_protocol import codec
from litefleet_protocol.messages import Ack
from tests.controller.telemetry.conftest import ARTIFACT, STARTED, window

QUICK = Batching(wait_s=0.01, backoff_s=(0.01, 0.05))
RECEIVED = datetime.fromtimestamp(STARTED + 20, UTC)


@dataclass(frozen=True)
class Placed:
    namespace: str
    device_class: str


class Boards:
    """Every board but strangers. Implements Places."""

    async def locate(self, device: str) -> Placed | None:
        return None if device == "stranger" else Placed("default", "rpi-4")


async def until(condition: Callable[[], object], what: str, deadline_s: float = 10.0) -> None:
    """Wait for a condition, or fail by name."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"never happened: {what}"
        await asyncio.sleep(0.005)


class Acks(list[tuple[str, str, int]]):
    """What was acknowledged, in order."""

    def __call__(self, device: str, ack: Ack) -> None:
        self.append((device, ack.boot_id, ack.sequence))


def ingest_of(database: Database, acks: Acks, batching: Batching = QUICK, **more: Any) -> TelemetryIngest:
    return TelemetryIngest(database, Boards(), acks, clock=lambda: RECEIVED, batching=batching, **more)


@asynccontextmanager
async def running(ingest: TelemetryIngest) -> AsyncIterator[None]:
    task = asyncio.create_task(ingest.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def rows(database: Database) -> list[Any]:
    async with database.sessions() as session:
        connection = await session.connection()
        return list((await connection.execute(select(WINDOWS).order_by(WINDOWS.c.id))).all())


async def test_a_window_is_stored_as_it_is_with_where_the_board_belongs(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks, rollout_of=lambda device, slot, artifact: f"{device}/{slot}/{artifact[:8]}")
    async with running(ingest):
        ingest.offer("a", codec.encode(window(1)))
        await until(lambda: acks, "it is acknowledged")
    (row,) = await rows(database)
    assert (row.namespace, row.device, row.device_class, row.slot) == ("default", "a", "rpi-4", "digits")
    assert (row.version, row.artifact, row.rollout) == ("digits-v1", ARTIFACT, "a/digits/sha256:a")
    assert (row.received_at, row.started, row.seconds) == (RECEIVED, STARTED, 10.0)
    assert (row.count, row.errors, row.dropped, row.classes) == (20, 1, 2, {"3": 12, "7": 8})
    assert (row.rss, row.temperature, row.longest_gap_ms) == (45_000_000, 51.5, 55.0)
    assert row.clock_untrusted is False
    assert acks == [("a", "boot", 1)]


async def test_a_resent_window_is_stored_once_and_acknowledged_again(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        for n in range(3):
            ingest.offer("a", codec.encode(window(1)))
            await until(lambda n=n: len(acks) == n + 1, "it is acknowledged")  # type: ignore[misc]
    assert len(await rows(database)) == 1
    assert ingest.stored == 1
    assert acks == [("a", "boot", 1)] * 3


async def test_an_ack_does_not_jump_over_a_window_on_its_way(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        for sequence in (1, 3):
            ingest.offer("a", codec.encode(window(sequence)))
        await until(lambda: acks, "the first is acknowledged")
        ingest.offer("a", codec.encode(window(2)))
        await until(lambda: len(acks) == 2, "all are acknowledged")
    assert [sequence for _, _, sequence in acks] == [1, 3]


async def test_a_window_that_can_never_be_stored_holds_up_no_other(database: Database) -> None:
    class BrokenBoards(Boards):
        async def locate(self, device: str) -> Placed | None:
            if device == "broken":
                return Placed("default", None)  # type: ignore[arg-type]  # a column that must not be NULL
            return await super().locate(device)

    acks = Acks()
    ingest = TelemetryIngest(database, BrokenBoards(), acks, clock=lambda: RECEIVED, batching=QUICK)
    async with running(ingest):
        for device in ("a", "b", "broken", "c", "d"):
            ingest.offer(device, codec.encode(window(1)))
        await until(lambda: len(acks) == 4, "the others are acknowledged")
    assert [row.device for row in await rows(database)] == ["a", "b", "c", "d"]
    assert ingest.dropped == {"Unstorable": 1}


async def test_after_a_restart_it_goes_on_from_what_is_durable(database: Database) -> None:
    for sequences in ((1, 2), (3,)):
        acks = Acks()
        ingest = ingest_of(database, acks)
        async with running(ingest):
            for sequence in sequences:
                ingest.offer("a", codec.encode(window(sequence)))
            await until(lambda acks=acks: acks, "it is acknowledged")  # type: ignore[misc]
        assert acks[-1] == ("a", "boot", sequences[-1])


async def test_boards_and_boots_are_acknowledged_each_for_itself(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        ingest.offer("a", codec.encode(window(1)))
        ingest.offer("b", codec.encode(window(1)))
        ingest.offer("a", codec.encode(window(1, boot_id="next")))
        await until(lambda: len(acks) == 3, "all are acknowledged")
    assert sorted(acks) == [("a", "boot", 1), ("a", "next", 1), ("b", "boot", 1)]


async def test_many_windows_take_few_transactions(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks, Batching(rows=500, wait_s=5.0))
    async with running(ingest):
        for sequence in range(1, 1001):
            ingest.offer("a", codec.encode(window(sequence)))
        await until(lambda: ingest.stored == 1000, "all are stored")
    assert [sequence for _, _, sequence in acks] == [500, 1000]


async def test_a_locked_database_delays_and_nothing_is_acknowledged_meanwhile(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'locked.sqlite'}")
    await database.migrate()
    acks = Acks()
    ingest = ingest_of(database, acks)
    other = sqlite3.connect(tmp_path / "locked.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with running(ingest):
        ingest.offer("a", codec.encode(window(1)))
        await until(lambda: not ingest._queue, "the batch is taken")
        assert not acks
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: acks, "it is acknowledged")
    assert len(await rows(database)) == 1
    await database.close()


async def test_a_failing_database_is_tried_again_and_the_queue_stays_bounded(database: Database) -> None:
    acks = Acks()
    broken = Breaking(database)
    ingest = ingest_of(broken, acks, Batching(rows=10, wait_s=0.001, max_queued=20, backoff_s=(0.001, 0.002)))  # type: ignore[arg-type]
    async with running(ingest):
        for sequence in range(1, 11):
            ingest.offer("a", codec.encode(window(sequence)))
        await until(lambda: broken.tried > 2, "it is tried again")
        for sequence in range(11, 51):
            ingest.offer("a", codec.encode(window(sequence)))
        assert ingest.dropped == {"QueueFull": 20}
        assert not acks
        broken.works = True
        await until(lambda: ingest.stored == 30, "what was queued is stored")
        for sequence in range(1, 51):  # the board sends again what wasn't acknowledged
            ingest.offer("a", codec.encode(window(sequence)))
            await until(lambda: len(ingest._queue) < 20, "there is room")
        await until(lambda: ingest.stored == 50, "the rest is stored")
        await until(lambda: acks[-1][2] == 50, "all of it is acknowledged")


class Breaking:
    """A database whose disk is full until it `works`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.works = False
        self.tried = 0

    def writing(self) -> Any:
        self.tried += 1
        if not self.works:
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.writing()


async def test_queued_bytes_are_bounded_too(database: Database) -> None:
    ingest = ingest_of(database, Acks(), Batching(max_queued_bytes=1000))
    for _ in range(3):
        ingest.offer("a", b"x" * 400)
    assert ingest.dropped == {"QueueFull": 1}


async def test_what_nobody_knows_or_nobody_can_read_is_dropped_and_counted(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        ingest.offer("stranger", codec.encode(window(1)))
        ingest.offer("a", b"\xc1")
        ingest.offer("a", codec.encode(window(1)))
        await until(lambda: acks, "the good one is acknowledged")
    assert ingest.dropped == {"UnknownDevice": 1, "BadMessage": 1}
    assert acks == [("a", "boot", 1)]


async def test_bad_samples_are_counted_and_the_window_is_stored(database: Database) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        ingest.offer("a", codec.encode(window(1, temperature_c=float("inf"))))
        ingest.offer("a", codec.encode(window(2, classes={f"c{n}": 1 for n in range(4100)})))
        await until(lambda: len(acks) and acks[-1][2] == 2, "both are acknowledged")
    assert ingest.bad == {"BadSample": 1, "CardinalityLimit": 4}
    first, second = await rows(database)
    assert first.temperature is None
    assert len(second.classes) == 4096


@pytest.mark.parametrize("started", [0.0, 2_890_000_000.0])
async def test_a_wrong_clock_is_accepted_and_marked(database: Database, started: float) -> None:
    acks = Acks()
    ingest = ingest_of(database, acks)
    async with running(ingest):
        ingest.offer("a", codec.encode(window(1, started=started)))
        await until(lambda: acks, "it is acknowledged")
    (row,) = await rows(database)
    assert row.clock_untrusted is True
    assert row.received_at == RECEIVED
