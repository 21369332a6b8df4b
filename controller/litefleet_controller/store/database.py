"""The database: its engine, its one writer at a time, its migrations.

SQLite in WAL mode: readers never wait. Writers begin IMMEDIATE (a deferred transaction that reads first can't be
upgraded once another has written) and take turns in this process, so that none of them runs into the busy timeout;
between processes the timeout makes them wait. Neither wait is long: while somebody else holds the lock, writers would
queue up behind each other for minutes, and people want to be told.

`synchronous=FULL`, not NORMAL: what was acknowledged to a board (its telemetry, the counter and epoch of its desired
state) must survive a power cut, and NORMAL may lose the last commits.

Called by the composition root; the other modules of store/, identity/ and telemetry/ use `sessions` and `writing()`.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from sqlalchemy import Connection, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from litefleet_controller.store.availability import Availability
from litefleet_controller.store.errors import DatabaseLockedError, UnavailableError

_BUSY_TIMEOUT_MS = 5_000
_TURN_S = 10.0
"""How long a writer waits for those before it while none of them comes to an end."""
_POSTGRESQL_LOCK = 0x6C697465
"""The number of litefleet's writers among a database's advisory locks."""
_WRITES = "litefleet_writes"


class Database:
    """An open database. `url` is SQLAlchemy's, e.g. `sqlite+aiosqlite:////var/lib/litefleet/db.sqlite`."""

    def __init__(self, url: str, *, busy_timeout_ms: int = _BUSY_TIMEOUT_MS, turn_s: float = _TURN_S) -> None:
        """The two waits are for another process's lock, and for this process's other writers."""
        sqlite = make_url(url).get_backend_name() == "sqlite"
        self._engine = create_async_engine(url, connect_args={"async_creator_fn": _connect_sqlite} if sqlite else {})
        if sqlite:
            event.listen(self._engine.sync_engine, "connect", lambda raw, _: _configure_sqlite(raw, busy_timeout_ms))
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        self._availability = Availability()
        event.listen(self._engine.sync_engine, "handle_error", self._availability.translate)
        self._turn_s = turn_s
        self._writers: AsyncEngine = self._engine.execution_options(**{_WRITES: True})
        self._turn = asyncio.Lock()
        self._turns = 0
        """That have ended."""
        self.sessions = async_sessionmaker(self._engine, class_=AsyncSession, expire_on_commit=False)
        """For reads, and for writes of one statement; anything else belongs in `writing()`."""
        self._write_sessions = async_sessionmaker(self._writers, class_=AsyncSession, expire_on_commit=False)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose statements all see one state of the database."""
        async with self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @property
    def trouble(self) -> UnavailableError | None:
        """Why nothing could be written the last time, None when it could."""
        return self._availability.trouble

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction that holds the write lock from its beginning, committed when the block ends without error.

        Raises:
            DatabaseLockedError, DatabaseFullError: it can't be written now; nothing was.
        """
        async with self._our_turn():
            async with self._write_sessions() as session, session.begin():
                connection = await session.connection()
                await self._take_turn(connection)
                await self._availability.prove(connection)
                yield session
            self._availability.trouble = None

    @asynccontextmanager
    async def _our_turn(self) -> AsyncIterator[None]:
        while True:
            before = self._turns
            try:
                async with asyncio.timeout(self._turn_s):
                    await self._turn.acquire()
            except TimeoutError as e:
                # Many writers are slow together; only when none of them gets anywhere is waiting in vain.
                if self._turns == before or self._availability.trouble is not None:
                    waiting = DatabaseLockedError("writers before this one still wait")
                    raise self._availability.trouble or waiting from e
            else:
                break
        try:
            yield
        finally:
            self._turns += 1
            self._turn.release()

    async def migrate(self) -> None:
        """Bring the schema up to date, in one transaction.

        Raises:
            DatabaseVersionError: a newer litefleet wrote this database.
        """
        from litefleet_controller.store.migrations import upgrade  # Alembic costs 0.2 s that readers needn't pay.

        async with self._turn, self._writers.begin() as connection:
            await self._take_turn(connection)
            await connection.run_sync(upgrade)

    async def close(self) -> None:
        """Close all connections. Close what watches the database before."""
        await self._engine.dispose()

    async def _take_turn(self, connection: AsyncConnection) -> None:
        """One writer at a time on PostgreSQL too: what it looked up (a free name) still holds when it writes."""
        if self._engine.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))


class _SqliteConnection(aiosqlite.Connection):
    """Ends its transaction before it closes.

    A cancelled task's connection is closed by SQLAlchemy while a cursor may still be open. SQLite then keeps the
    connection alive with its transaction, and with the write lock, until the cursor is collected: every other writer
    would run into the busy timeout.
    """

    async def close(self) -> None:
        if self._running and self._connection is not None:
            await self.rollback()
        await super().close()

    def stop(self) -> asyncio.Future[Any] | None:
        if self._running and self._connection is not None:
            self._tx.put_nowait((None, self._connection.rollback))
        return super().stop()


async def _connect_sqlite(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
    return await _SqliteConnection(lambda: sqlite3.connect(*args, **kwargs), iter_chunk_size=64)


def _configure_sqlite(connection: DBAPIConnection, busy_timeout_ms: int) -> None:
    raw: Any = connection
    raw.isolation_level = None  # The driver begins no transactions by itself: `_begin_sqlite` does.
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={busy_timeout_ms}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _use_wal(cursor, busy_timeout_ms)
    cursor.close()


def _use_wal(cursor: DBAPICursor, busy_timeout_ms: int) -> None:
    """Write-ahead logging, which is kept in the file: only the first connection to a new database changes anything.

    Several at once are told that the database is locked without waiting for the busy timeout.
    """
    deadline = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as e:
            if "locked" not in str(e) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
