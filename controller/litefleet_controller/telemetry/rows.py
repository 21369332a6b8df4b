"""Windows as rows: the statements that write them, in bulk, on SQLite and PostgreSQL alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Table, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from litefleet_controller.telemetry.floors import Boot
from litefleet_controller.telemetry.tables import TelemetryAckRow, TelemetryWindowRow
from litefleet_protocol.histogram import Histogram
from litefleet_protocol.messages import TelemetryWindow

Row = dict[str, Any]
"""Column to value, of `telemetry_windows`."""

WINDOWS: Table = SQLModel.metadata.tables[TelemetryWindowRow.__tablename__]
ACKS: Table = SQLModel.metadata.tables[TelemetryAckRow.__tablename__]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Histogram)
_MAX_KEYS = 500


def pack(histogram: Histogram) -> bytes:
    """A histogram as a column holds it."""
    return _encoder.encode(histogram)


def unpack(data: bytes) -> Histogram:
    """A histogram out of a column."""
    return _decoder.decode(data)


def row_of(
    window: TelemetryWindow,
    *,
    device: str,
    namespace: str,
    device_class: str,
    rollout: str | None,
    received_at: datetime,
    clock_untrusted: bool,
) -> Row:
    """A window as a row."""
    return {
        "received_at": received_at,
        "namespace": namespace,
        "device": device,
        "device_class": device_class,
        "slot": window.slot,
        "version": window.version,
        "artifact": window.artifact,
        "rollout": rollout,
        "boot_id": window.boot_id,
        "sequence": window.sequence,
        "started": window.started,
        "seconds": window.seconds,
        "count": window.count,
        "errors": window.errors,
        "dropped": window.dropped,
        "latency": pack(window.latency_ms),
        "confidence": pack(window.confidence),
        "classes": window.classes,
        "rss": window.rss_bytes,
        "temperature": window.temperature_c,
        "longest_gap_ms": window.longest_gap_ms,
        "clock_untrusted": clock_untrusted,
    }


async def insert_windows(session: AsyncSession, rows: Sequence[Row]) -> int:
    """Insert those that aren't there yet; how many that were."""
    statement = _insert(session, WINDOWS).on_conflict_do_nothing(index_elements=["device", "boot_id", "sequence"])
    connection = await session.connection()
    result = await connection.execute(statement, rows)
    return max(0, result.rowcount)


async def read_floors(session: AsyncSession, boots: Sequence[Boot]) -> dict[Boot, int]:
    """Up to where each boot is durable, of those that are known."""
    found: dict[Boot, int] = {}
    connection = await session.connection()
    for start in range(0, len(boots), _MAX_KEYS):
        wanted = tuple_(ACKS.c.device, ACKS.c.boot_id).in_(boots[start : start + _MAX_KEYS])
        for device, boot_id, sequence in await connection.execute(
            select(ACKS.c.device, ACKS.c.boot_id, ACKS.c.sequence).where(wanted)
        ):
            found[device, boot_id] = sequence
    return found


async def write_floors(session: AsyncSession, floors: Mapping[Boot, int], now: datetime) -> None:
    """Keep the floors; one that is lower than what is kept changes nothing."""
    if not floors:
        return
    insert = _insert(session, ACKS)
    statement = insert.on_conflict_do_update(
        index_elements=["device", "boot_id"],
        set_={"sequence": insert.excluded.sequence, "updated_at": insert.excluded.updated_at},
        where=ACKS.c.sequence < insert.excluded.sequence,
    )
    connection = await session.connection()
    await connection.execute(
        statement,
        [{"device": d, "boot_id": b, "sequence": s, "updated_at": now} for (d, b), s in floors.items()],
    )


def _insert(session: AsyncSession, table: Table) -> sqlite.Insert | postgresql.Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
