"""Log entries from bytes to durable rows and acknowledgements, bounded, and out again."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.boardlog.ingest import LogIngest, LogLimits
from litefleet_controller.telemetry.boardlog.query import SqlBoardLogs
from litefleet_controller.telemetry.boardlog.rows import LOG, expire, forget, forget_board, happened_at, insert, row_of
from litefleet_protocol import codec
from litefleet_protocol.limits import MAX_LOG_BYTES, MAX_LOG_ENTRIES, MAX_LOG_TEXT
from litefleet_protocol.messages import Ack, DeviceLog, LogEntry

AT = 1_772_000_000.0
RECEIVED = datetime.fromtimestamp(AT + 5, UTC)
QUICK = LogLimits(wait_s=0.01, backoff_s=(0.01, 0.05))


@dataclass(frozen=True)
class Placed:
    namespace: str = "default"
    device_class: str = "rpi-4"


class Boards:
    """Every board but strangers. Implements Places."""

    async def locate(self, device: str) -> Placed | None:
        return None if device == "stranger" else Placed()


class Acks(list[tuple[str, Ack]]):
    def __call__(self, device: str, ack: Ack) -> None:
        self.append((device, ack))


def entry(sequence: int = 1, event: str = "swapped", **changes: Any) -> LogEntry:
    values: dict[str, Any] = {"boot_id": "boot", "at": AT, "monotonic": 7.5, "level": "info"} | changes
    return LogEntry(sequence=sequence, event=event, **values)


def message(*entries: LogEntry) -> bytes:
    return codec.encode(DeviceLog(entries=entries))


async def until(condition: Callable[[], object], what: str) -> None:
    end = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"never happened: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    database: Database, limits: LogLimits = QUICK, received: datetime = RECEIVED
) -> AsyncIterator[tuple[LogIngest, Acks]]:
    acks = Acks()
    ingest = LogIngest(database, Boards(), acks, clock=lambda: received, limits=limits)
    task = asyncio.create_task(ingest.run())
    yield ingest, acks
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def store(database: Database, device: str, *entries: LogEntry, limits: LogLimits = QUICK) -> None:
    async with running(database, limits) as (ingest, acks):
        ingest.offer(device, message(*entries))
        await until(lambda: acks, "it is acknowledged")


async def events(database: Database, device: str = "a", **options: Any) -> list[str]:
    logs = SqlBoardLogs(database.sessions)
    return [line.event for line in await logs.tail("default", device, **({"lines": 1_000} | options))]


async def test_entries_are_stored_as_they_are_and_the_last_is_acknowledged(database: Database) -> None:
    async with running(database) as (ingest, acks):
        ingest.offer("a", message(entry(1, "connected"), entry(2, fields={"slot": "digits", "gap_ms": 1.5})))
        await until(lambda: acks, "they are acknowledged")
    assert acks == [("a", Ack(boot_id="boot", sequence=2, stream="log"))]
    _, line = await SqlBoardLogs(database.sessions).tail("default", "a", lines=10)
    assert (line.event, line.level, line.fields) == ("swapped", "info", {"slot": "digits", "gap_ms": 1.5})
    assert (line.boot_id, line.sequence, line.monotonic, line.clock_trusted) == ("boot", 2, 7.5, True)
    assert (line.at, line.received_at) == (datetime.fromtimestamp(AT, UTC), RECEIVED)


async def test_a_resent_message_is_stored_once_and_acknowledged_again(database: Database) -> None:
    async with running(database) as (ingest, acks):
        for n in range(3):
            ingest.offer("a", message(entry(1), entry(2)))
            await until(lambda n=n: len(acks) == n + 1, "it is acknowledged")  # type: ignore[misc]
    assert len(await events(database)) == 2


async def test_boots_and_boards_are_kept_apart(database: Database) -> None:
    await store(database, "a", entry(1, "first"), entry(1, "second", boot_id="next"))
    await store(database, "b", entry(1, "other"))
    assert await events(database) == ["first", "second"]
    assert await events(database, "b") == ["other"]


async def test_only_the_newest_are_kept_of_each_board(database: Database) -> None:
    limits = LogLimits(lines=10, wait_s=0.01)
    await store(database, "quiet", entry(1, "once"), limits=limits)
    for start in range(0, 40, 8):
        await store(database, "a", *[entry(n, f"event-{n}") for n in range(start, start + 8)], limits=limits)
    assert await events(database) == [f"event-{n}" for n in range(30, 40)]
    assert await events(database, "quiet") == ["once"]


async def test_tail_and_since_narrow_what_is_asked_for(database: Database) -> None:
    await store(database, "a", *[entry(n, f"event-{n}", at=AT - 60 * (10 - n)) for n in range(10)])
    assert await events(database, lines=2) == ["event-8", "event-9"]
    since = datetime.fromtimestamp(AT - 185, UTC)
    assert await events(database, since=since) == ["event-7", "event-8", "event-9"]


async def test_what_follows_an_entry_is_read_in_order(database: Database) -> None:
    logs = SqlBoardLogs(database.sessions)
    await store(database, "a", *[entry(n, f"event-{n}") for n in range(6)])
    third = (await logs.tail("default", "a", lines=100))[2]
    assert [x.event for x in await logs.after("default", "a", third.id, lines=2)] == ["event-3", "event-4"]


@pytest.mark.parametrize(
    ("at", "trusted", "seen"),
    [
        (AT, True, AT),
        (AT - 86_400, True, AT - 86_400),
        (AT + 30, True, AT + 30),
        (12.0, False, AT + 5),
        (AT + 3_600, True, AT + 5),
        (1e18, True, AT + 5),
        (-1e18, True, AT + 5),
    ],
)
def test_a_clock_is_believed_where_it_can_be(at: float, trusted: bool, seen: float) -> None:
    assert happened_at(entry(at=at, clock_trusted=trusted), RECEIVED).timestamp() == seen


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"v":"1.0","entries":[]}',
        b'{"v":"1.0","entries":[{"event":"x"}]}',
        message(*[entry(n) for n in range(MAX_LOG_ENTRIES + 1)]),
        b" " * (MAX_LOG_BYTES + 1),
    ],
    ids=["empty", "torn", "not-text", "no-entries", "no-sequence", "too-many", "too-large"],
)
async def test_what_is_no_log_is_dropped_and_holds_up_nothing(database: Database, payload: bytes) -> None:
    async with running(database) as (ingest, acks):
        ingest.offer("a", payload)
        ingest.offer("b", message(entry()))
        await until(lambda: acks, "the other is acknowledged")
    assert [device for device, _ in acks] == ["b"]
    assert ingest.dropped.total() == 1


async def test_a_newer_major_version_is_refused_by_name(database: Database) -> None:
    async with running(database) as (ingest, _):
        ingest.offer("a", json.dumps({"v": "2.0", "entries": []}).encode())
        await until(lambda: ingest.dropped, "it is dropped")
    assert dict(ingest.dropped) == {"UnsupportedVersion": 1}


async def test_a_strangers_log_is_not_stored(database: Database) -> None:
    async with running(database) as (ingest, acks):
        ingest.offer("stranger", message(entry()))
        await until(lambda: ingest.dropped, "it is dropped")
    assert acks == []
    assert await events(database, "stranger") == []


async def test_one_board_cannot_crowd_out_the_others(database: Database) -> None:
    async with running(database) as (ingest, acks):
        for n in range(1_000):
            ingest.offer("loud", message(entry(n)))
        ingest.offer("a", message(entry()))
        await until(lambda: "a" in [device for device, _ in acks], "the other is acknowledged")
    assert ingest.dropped["QueueFull"] == 1_000 - QUICK.max_queued_of_board


async def test_a_locked_database_only_delays(database: Database) -> None:
    async with running(database) as (ingest, acks):
        async with database.writing() as session:
            await session.connection()
            ingest.offer("a", message(entry()))
            await until(lambda: not ingest._queue, "it is taken up")
            assert acks == []
        await until(lambda: acks, "it is stored when the lock is free")
    assert await events(database) == ["swapped"]


async def test_odd_values_are_made_plain_and_stored(database: Database) -> None:
    odd = entry(
        -5,
        "nul\x00" + "x" * 500,
        level="shout",
        fields={"a long": "y" * 10_000, "a nul": "\x00", "k" * 1_000: 1, **{f"f{n}": n for n in range(100)}},
    )
    await store(database, "a", odd)
    (line,) = await SqlBoardLogs(database.sessions).tail("default", "a", lines=10)
    assert (line.level, line.sequence, len(line.event)) == ("info", 0, 100)
    assert len(str(line.fields["a long"])) == MAX_LOG_TEXT
    assert "\x00" not in json.dumps(dict(line.fields), ensure_ascii=False) + line.event
    assert len(line.fields) == 24


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    sequence=st.integers(),
    at=st.floats(),
    event=st.text(),
    level=st.text(),
    fields=st.dictionaries(st.text(), VALUES),
)
def test_whatever_an_entry_holds_it_becomes_a_row(
    sequence: int, at: float, event: str, level: str, fields: dict[str, Any]
) -> None:
    odd = LogEntry(boot_id="b", sequence=sequence, at=at, monotonic=at, level=level, event=event, fields=fields)
    row = row_of(odd, device="a", namespace="default", received_at=RECEIVED)
    assert 0 <= row["sequence"] < 2**63
    assert len(row["event"]) <= 100
    json.dumps(row["fields"], allow_nan=False)


async def count(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(LOG))).scalar_one())


async def filled(database: Database) -> None:
    async with database.writing() as session:
        connection = await session.connection()
        for namespace, device, age in (("default", "a", 1), ("default", "b", 40), ("line-a", "c", 1)):
            at = RECEIVED - timedelta(days=age)
            row = row_of(entry(boot_id=device), device=device, namespace=namespace, received_at=at)
            await insert(connection, [row])


async def test_a_boards_log_goes_with_the_board(database: Database) -> None:
    await filled(database)
    async with database.writing() as session:
        await forget_board(await session.connection(), "default", "a")
    assert await count(database) == 2
    assert await events(database) == []


async def test_a_namespaces_logs_go_with_it(database: Database) -> None:
    await filled(database)
    async with database.writing() as session:
        assert await forget(await session.connection(), "default")
    assert await count(database) == 1


async def test_old_entries_go(database: Database) -> None:
    await filled(database)
    async with database.writing() as session:
        assert await expire(await session.connection(), RECEIVED - timedelta(days=30))
    assert await count(database) == 2
