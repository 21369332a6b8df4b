"""The store's tables. Written through store's modules only; created by store/migrations.

Statements use the `Table` objects below (SQLAlchemy Core): entities would cost ten times as much in lists.
Types are portable between SQLite and PostgreSQL.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Row, Table, UniqueConstraint
from sqlmodel import Field, SQLModel

AnyRow = Row[*tuple[Any, ...]]
_ROW_ID: Any = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is declared INTEGER."""


class RevisionRow(SQLModel, table=True):
    """One row: the newest resourceVersion.

    Every write raises it inside its transaction. The row's lock puts writers in one order, so that versions become
    visible in the order of their numbers, without gaps, which is what a watch relies on (a sequence would not do).
    """

    __tablename__ = "revision"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class ObjectRow(SQLModel, table=True):
    """An object. `body` is the whole object as JSON; the other columns are what queries need of it."""

    __tablename__ = "objects"
    __table_args__ = (UniqueConstraint("kind", "namespace", "name", name="objects_key"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=_ROW_ID)
    kind: str
    namespace: str
    name: str
    uid: str = Field(unique=True)
    resource_version: int = Field(sa_type=BigInteger)
    generation: int = Field(sa_type=BigInteger)
    labels: str
    """JSON, so that a list needn't decode bodies."""
    body: bytes


class ObjectIndexRow(SQLModel, table=True):
    """What selectors find objects by: a label (`site`), a selectable field (`.spec.class`), an owner's uid.

    A label's key never begins with a dot, so that one index serves all three.
    """

    __tablename__ = "object_index"
    __table_args__ = (Index("object_index_value", "key", "value", "object_id"),)
    object_id: int = Field(
        primary_key=True, sa_type=_ROW_ID, sa_column_args=(ForeignKey("objects.id", ondelete="CASCADE"),)
    )
    key: str = Field(primary_key=True)
    value: str = Field(primary_key=True)


class ChangeRow(SQLModel, table=True):
    """History for watches, compacted by count and age."""

    __tablename__ = "changes"
    resource_version: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(index=True)
    type: str
    kind: str
    namespace: str
    name: str
    body: bytes
    previous: bytes | None


class AssignmentRow(SQLModel, table=True):
    """What one slot of one board was commanded to run."""

    __tablename__ = "assignments"
    __table_args__ = (Index("assignments_slot", "namespace", "slot", "device"),)
    namespace: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    slot: str = Field(primary_key=True)
    version: str
    artifact: str
    fallback: str | None
    rollout: str
    probation_s: float
    deadline_s: float | None
    max_latency_ms: float | None
    max_memory_bytes: int | None = Field(sa_type=BigInteger)
    assigned_at: datetime


class BoardCounterRow(SQLModel, table=True):
    """How often a board's desired state changed."""

    __tablename__ = "board_counters"
    namespace: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    counter: int = Field(sa_type=BigInteger)


class LeaseRow(SQLModel, table=True):
    """Who leads."""

    __tablename__ = "leases"
    name: str = Field(primary_key=True)
    holder: str
    epoch: int = Field(sa_type=BigInteger)
    expires_at: datetime


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


REVISION = _table("revision")
OBJECTS = _table("objects")
OBJECT_INDEX = _table("object_index")
CHANGES = _table("changes")
ASSIGNMENTS = _table("assignments")
BOARD_COUNTERS = _table("board_counters")
LEASES = _table("leases")
