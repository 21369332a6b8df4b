"""Entries as rows: what of a board's words is taken, and the statements that store, bound and delete them.

What is odd is made plain instead of refused: an entry that isn't taken would be sent again for ever.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from litefleet_controller.telemetry.boardlog.tables import DeviceLogRow
from litefleet_protocol.limits import MAX_LOG_FIELDS, MAX_LOG_TEXT
from litefleet_protocol.messages import LogEntry, LogValue

Row = dict[str, Any]
"""Column to value, of `device_log`."""

LOG: Table = SQLModel.metadata.tables[DeviceLogRow.__tablename__]

LEVELS = ("info", "warning", "error")
_AHEAD = timedelta(minutes=1)
"""A board's clock that is ahead of ours by more is not to be believed, whatever the board thinks."""
_DELETED_AT_ONCE = 5_000
_MAX_SEQUENCE = 2**63 - 1


def row_of(entry: LogEntry, *, device: str, namespace: str, received_at: datetime) -> Row:
    """An entry as a row."""
    fields = list(entry.fields.items())[:MAX_LOG_FIELDS]
    return {
        "received_at": received_at,
        "at": happened_at(entry, received_at),
        "namespace": namespace,
        "device": device,
        "boot_id": _clean(entry.boot_id, 64),
        "sequence": max(0, min(entry.sequence, _MAX_SEQUENCE)),
        "device_at": _finite(entry.at),
        "monotonic": _finite(entry.monotonic),
        "clock_trusted": entry.clock_trusted,
        "level": entry.level if entry.level in LEVELS else LEVELS[0],
        "event": _clean(entry.event, 100),
        "fields": {_clean(key, 100): _value(value) for key, value in fields},
    }


def happened_at(entry: LogEntry, received_at: datetime) -> datetime:
    """When an entry's event was: by the board's clock when both sides find it believable, else at receipt."""
    if not entry.clock_trusted:
        return received_at
    try:
        at = datetime.fromtimestamp(entry.at, UTC)
    except (ValueError, OverflowError, OSError):
        return received_at
    return received_at if at > received_at + _AHEAD else at


async def insert(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Insert those that aren't there yet."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    await connection.execute(
        make(LOG).on_conflict_do_nothing(index_elements=["device", "boot_id", "sequence"]), list(rows)
    )


async def bound(connection: AsyncConnection, boards: Collection[tuple[str, str]], lines: int) -> None:
    """Keep the newest `lines` entries of each (namespace, device)."""
    log = LOG.c
    for namespace, device in sorted(boards):
        of_board = (log.namespace == namespace, log.device == device)
        newest = select(log.id).where(*of_board).order_by(log.id.desc())
        beyond = newest.offset(lines).limit(1).scalar_subquery()
        await connection.execute(delete(LOG).where(*of_board, log.id <= beyond))


async def forget_board(connection: AsyncConnection, namespace: str, device: str) -> None:
    """Delete a board's log."""
    await connection.execute(delete(LOG).where(LOG.c.namespace == namespace, LOG.c.device == device))


async def forget(connection: AsyncConnection, namespace: str) -> bool:
    """Delete a portion of a namespace's entries; whether none is left."""
    some = select(LOG.c.id).where(LOG.c.namespace == namespace).limit(_DELETED_AT_ONCE)
    result = await connection.execute(delete(LOG).where(LOG.c.id.in_(some)))
    return result.rowcount < _DELETED_AT_ONCE


async def expire(connection: AsyncConnection, older_than: datetime) -> bool:
    """Delete a portion of what was received before `older_than`; whether none is left."""
    old = select(LOG.c.id).where(LOG.c.received_at < older_than).limit(_DELETED_AT_ONCE)
    result = await connection.execute(delete(LOG).where(LOG.c.id.in_(old)))
    return result.rowcount < _DELETED_AT_ONCE


def shown_fields(fields: object) -> Mapping[str, LogValue]:
    """Fields out of a column."""
    return fields if isinstance(fields, dict) else {}


def _value(value: LogValue) -> LogValue:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return _clean(value, MAX_LOG_TEXT) if isinstance(value, str) else value


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _clean(text: str, most: int) -> str:
    """Bounded, and without what PostgreSQL can't store."""
    return text[:most].replace("\x00", "\ufffd")
