"""The table of the boards' logs. The store's migrations create it; nothing outside boardlog/ reads or writes it."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index, Integer
from sqlmodel import Field, SQLModel, UTCDateTime

# SQLite gives out row ids for INTEGER primary keys only, and its INTEGER has 64 bits anyway.
_BIG = BigInteger().with_variant(Integer(), "sqlite")


class DeviceLogRow(SQLModel, table=True):
    """One entry of one board's log."""

    __tablename__: ClassVar[str] = "device_log"
    __table_args__: ClassVar[tuple[Any, ...]] = (
        # What makes a resent entry harmless.
        Index("uq_device_log_device_boot_sequence", "device", "boot_id", "sequence", unique=True),
        # The end of one board's log, and its bound.
        Index("ix_device_log_namespace_device_id", "namespace", "device", "id"),
        # Retention.
        Index("ix_device_log_received", "received_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_BIG)
    received_at: datetime = Field(sa_type=UTCDateTime)
    at: datetime = Field(sa_type=UTCDateTime)
    namespace: str = Field(max_length=63)
    device: str = Field(max_length=63)
    boot_id: str = Field(max_length=64)
    sequence: int = Field(sa_type=BigInteger)
    device_at: float
    """Unix seconds, the board's clock, believed or not."""
    monotonic: float
    """Seconds of the board's monotonic clock."""
    clock_trusted: bool
    level: str = Field(max_length=16)
    event: str = Field(max_length=100)
    fields: dict[str, Any] = Field(sa_type=JSON)
