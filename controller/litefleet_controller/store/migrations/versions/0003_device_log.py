"""The boards' own logs, a bounded number of entries each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "device_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("device", sa.String(63), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("device_at", sa.Float, nullable=False),
        sa.Column("monotonic", sa.Float, nullable=False),
        sa.Column("clock_trusted", sa.Boolean, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("event", sa.String(100), nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
    )
    op.create_index("uq_device_log_device_boot_sequence", "device_log", ["device", "boot_id", "sequence"], unique=True)
    op.create_index("ix_device_log_namespace_device_id", "device_log", ["namespace", "device", "id"])
    op.create_index("ix_device_log_received", "device_log", ["received_at"])


def downgrade() -> None:
    op.drop_table("device_log")
