"""The tables of telemetry. The store's migrations create them; nothing outside telemetry/ reads or writes them.

Portable between SQLite and PostgreSQL. Times are the controller's clock at receipt, but for `started`, which is what
the board said and only shown.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary
from sqlmodel import Field, SQLModel, UTCDateTime

# SQLite gives out row ids for INTEGER primary keys only, and its INTEGER has 64 bits anyway.
_BIG = BigInteger().with_variant(Integer(), "sqlite")


class TelemetryWindowRow(SQLModel, table=True):
    """One window of one slot of one board."""

    __tablename__: ClassVar[str] = "telemetry_windows"
    __table_args__: ClassVar[tuple[Any, ...]] = (
        # What makes a resent window harmless.
        Index("uq_telemetry_windows_device_boot_sequence", "device", "boot_id", "sequence", unique=True),
        # `aggregate`: one slot of one namespace over a span of time.
        Index("ix_telemetry_windows_namespace_slot_received", "namespace", "slot", "received_at"),
        # `windows` of one board, newest first.
        Index("ix_telemetry_windows_namespace_device_id", "namespace", "device", "id"),
        # Retention.
        Index("ix_telemetry_windows_received", "received_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_BIG)
    received_at: datetime = Field(sa_type=UTCDateTime)
    namespace: str = Field(max_length=63)
    device: str = Field(max_length=63)
    device_class: str = Field(max_length=63)
    slot: str = Field(max_length=63)
    version: str = Field(max_length=253)
    artifact: str = Field(max_length=71)
    rollout: str | None = Field(default=None, max_length=253)
    boot_id: str = Field(max_length=64)
    sequence: int = Field(sa_type=BigInteger)
    started: float
    """Unix seconds, the board's clock."""
    seconds: float
    count: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    dropped: int = Field(sa_type=BigInteger)
    latency: bytes = Field(sa_type=LargeBinary)
    """MessagePack of a Histogram, milliseconds."""
    confidence: bytes = Field(sa_type=LargeBinary)
    """MessagePack of a Histogram, 0 to 1."""
    classes: dict[str, int] = Field(sa_type=JSON)
    rss: int | None = Field(default=None, sa_type=BigInteger)
    """Bytes."""
    temperature: float | None = None
    """Degrees Celsius."""
    longest_gap_ms: float
    clock_untrusted: bool


class TelemetryAckRow(SQLModel, table=True):
    """Up to where a boot of a board is durable without a gap, so that a restarted controller acknowledges right."""

    __tablename__: ClassVar[str] = "telemetry_acks"

    device: str = Field(primary_key=True, max_length=63)
    boot_id: str = Field(primary_key=True, max_length=64)
    sequence: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=UTCDateTime, index=True)
