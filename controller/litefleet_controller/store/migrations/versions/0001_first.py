"""The first tables: objects and their history, desired state, leadership, tokens, telemetry."""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _objects()
    _desired_state()
    _tokens()
    _telemetry()


def _objects() -> None:
    revision_table = op.create_table(
        "revision", sa.Column("id", sa.Integer, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
    )
    # Version 0 means "any" in Kubernetes, so that an empty database is already at 1.
    op.bulk_insert(revision_table, [{"id": 1, "value": 1}])
    namespaces = op.create_table(
        "namespaces",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("uid", sa.String, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.bulk_insert(namespaces, [{"name": "default", "uid": str(uuid4()), "created_at": datetime.now(UTC)}])
    op.create_table(
        "objects",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("namespace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("uid", sa.String, nullable=False, unique=True),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("labels", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("kind", "namespace", "name", name="objects_key"),
    )
    op.create_table(
        "object_index",
        sa.Column("object_id", _ROW_ID, sa.ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.String, primary_key=True),
    )
    op.create_index("object_index_value", "object_index", ["key", "value", "object_id"])
    op.create_table(
        "changes",
        sa.Column("resource_version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", _TIME, nullable=False, index=True),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("namespace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary),
    )


def _desired_state() -> None:
    op.create_table(
        "assignments",
        sa.Column("namespace", sa.String, primary_key=True),
        sa.Column("device", sa.String, primary_key=True),
        sa.Column("slot", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("artifact", sa.String, nullable=False),
        sa.Column("fallback", sa.String),
        sa.Column("rollout", sa.String, nullable=False),
        sa.Column("probation_s", sa.Float, nullable=False),
        sa.Column("deadline_s", sa.Float),
        sa.Column("max_latency_ms", sa.Float),
        sa.Column("max_memory_bytes", sa.BigInteger),
        sa.Column("assigned_at", _TIME, nullable=False),
    )
    op.create_index("assignments_slot", "assignments", ["namespace", "slot", "device"])
    op.create_table(
        "board_counters",
        sa.Column("namespace", sa.String, primary_key=True),
        sa.Column("device", sa.String, primary_key=True),
        sa.Column("counter", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
    )


def _tokens() -> None:
    op.create_table(
        "enrollment_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("created_by", sa.String(253), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME),
        sa.Column("used_by", sa.String(63)),
        sa.Column("key_sha256", sa.String(64)),
    )
    op.create_table(
        "access_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(253), nullable=False, index=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("namespace", sa.String(63)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
    )


def _telemetry() -> None:
    op.create_table(
        "telemetry_windows",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("device", sa.String(63), nullable=False),
        sa.Column("device_class", sa.String(63), nullable=False),
        sa.Column("slot", sa.String(63), nullable=False),
        sa.Column("version", sa.String(253), nullable=False),
        sa.Column("artifact", sa.String(71), nullable=False),
        sa.Column("rollout", sa.String(253)),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.Column("latency", sa.LargeBinary, nullable=False),
        sa.Column("confidence", sa.LargeBinary, nullable=False),
        sa.Column("classes", sa.JSON, nullable=False),
        sa.Column("rss", sa.BigInteger),
        sa.Column("temperature", sa.Float),
        sa.Column("longest_gap_ms", sa.Float, nullable=False),
        sa.Column("clock_untrusted", sa.Boolean, nullable=False),
    )
    windows = "telemetry_windows"
    op.create_index(
        "uq_telemetry_windows_device_boot_sequence", windows, ["device", "boot_id", "sequence"], unique=True
    )
    op.create_index("ix_telemetry_windows_namespace_slot_received", windows, ["namespace", "slot", "received_at"])
    op.create_index("ix_telemetry_windows_namespace_device_id", windows, ["namespace", "device", "id"])
    op.create_index("ix_telemetry_windows_received", windows, ["received_at"])
    op.create_table(
        "telemetry_acks",
        sa.Column("device", sa.String(63), primary_key=True),
        sa.Column("boot_id", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False, index=True),
    )
