"""Namespaces become objects like all others: with labels, managedFields, watches and a deletion."""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LABEL = "kubernetes.io/metadata.name"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NAMESPACES = sa.table(
    "namespaces", sa.column("name", sa.String), sa.column("uid", sa.String), sa.column("created_at", sa.DateTime(True))
)
_OBJECTS = sa.table(
    "objects",
    *(sa.column(name, sa.String) for name in ("kind", "namespace", "name", "uid", "labels")),
    *(sa.column(name, sa.BigInteger) for name in ("id", "resource_version", "generation")),
    sa.column("body", sa.LargeBinary),
)
_INDEX = sa.table(
    "object_index", sa.column("object_id", sa.BigInteger), sa.column("key", sa.String), sa.column("value", sa.String)
)


def upgrade() -> None:
    connection = op.get_bind()
    for name, uid, created_at in connection.execute(sa.select(_NAMESPACES)).all():
        added = connection.execute(sa.insert(_OBJECTS).values(_row(name, uid, created_at)).returning(_OBJECTS.c.id))
        object_id = added.scalar_one()
        entries = [(_LABEL, name), (".status.phase", "Active")]
        rows = [{"object_id": object_id, "key": key, "value": value} for key, value in entries]
        connection.execute(sa.insert(_INDEX), rows)
    op.drop_table("namespaces")


def _row(name: str, uid: str, created_at: datetime) -> dict[str, object]:
    """At version 1: older than every change, so that no watch misses a namespace or sees it twice."""
    labels = {_LABEL: name}
    metadata = {
        "name": name,
        "uid": uid,
        "creationTimestamp": created_at.strftime(_TIME),
        "labels": labels,
        "resourceVersion": "1",
    }
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    return {
        "kind": "Namespace",
        "namespace": "",
        "name": name,
        "uid": uid,
        "resource_version": 1,
        "generation": 0,
        "labels": json.dumps(labels, separators=(",", ":")),
        "body": json.dumps(body, separators=(",", ":")).encode(),
    }


def downgrade() -> None:
    op.create_table(
        "namespaces",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("uid", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    connection = op.get_bind()
    of_kind = _OBJECTS.c.kind == "Namespace"
    found = sa.select(_OBJECTS.c.name, _OBJECTS.c.uid, _OBJECTS.c.body).where(of_kind)
    for name, uid, body in connection.execute(found).all():
        stamp = json.loads(body)["metadata"]["creationTimestamp"]
        created_at = datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
        connection.execute(sa.insert(_NAMESPACES).values(name=name, uid=uid, created_at=created_at))
    ids = sa.select(_OBJECTS.c.id).where(of_kind)
    connection.execute(sa.delete(_INDEX).where(_INDEX.c.object_id.in_(ids)))
    connection.execute(sa.delete(_OBJECTS).where(of_kind))
