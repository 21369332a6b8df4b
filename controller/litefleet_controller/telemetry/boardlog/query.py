"""The boards' logs out of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlmodel.ext.asyncio.session import AsyncSession

from litefleet_controller.telemetry.boardlog.interface import LogLine
from litefleet_controller.telemetry.boardlog.rows import LOG, shown_fields


class SqlBoardLogs:
    """Implements `interface.BoardLogs`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def tail(
        self, namespace: str, device: str, *, lines: int, since: datetime | None = None
    ) -> Sequence[LogLine]:
        """See `interface.BoardLogs`."""
        query = _of(namespace, device).order_by(LOG.c.id.desc()).limit(lines)
        if since is not None:
            query = query.where(LOG.c.at >= since)
        return (await self._lines(query))[::-1]

    async def after(self, namespace: str, device: str, line: int, *, lines: int) -> Sequence[LogLine]:
        """See `interface.BoardLogs`."""
        return await self._lines(_of(namespace, device).where(LOG.c.id > line).order_by(LOG.c.id).limit(lines))

    async def _lines(self, query: Select[Any]) -> list[LogLine]:
        async with self._sessions() as session:
            connection = await session.connection()
            return [_line(row) for row in (await connection.execute(query)).all()]


def _of(namespace: str, device: str) -> Select[Any]:
    return select(LOG).where(LOG.c.namespace == namespace, LOG.c.device == device)


def _line(row: Any) -> LogLine:
    return LogLine(
        id=row.id,
        at=row.at,
        received_at=row.received_at,
        boot_id=row.boot_id,
        sequence=row.sequence,
        monotonic=row.monotonic,
        clock_trusted=row.clock_trusted,
        level=row.level,
        event=row.event,
        fields=shown_fields(row.fields),
    )
