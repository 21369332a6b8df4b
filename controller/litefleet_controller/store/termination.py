"""The end of a namespace: its objects go first, and it goes with the last of them.

Kubernetes does this in a controller. Here the delete itself does all that can be done at once, in its transaction; what
finalizers hold back goes on when they are taken away, in the transaction that does so. Nothing is left for a restart.
"""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.interface import Json, Key, Propagation, Record
from litefleet_controller.store.records import Stored, timestamp
from litefleet_controller.store.tables import OBJECTS

KIND = "Namespace"
DEFAULT = "default"
Qualified = Callable[[str], str]
"""From a kind's name to its plural and group, as conditions name it."""


class Writes(Protocol):
    """The transaction that a namespace ends in."""

    connection: AsyncConnection
    now: datetime

    async def load(self, key: Key) -> Stored | None:
        """The object."""
        ...

    async def update(self, stored: Stored, body: Json) -> Record:
        """Write it."""
        ...

    async def delete(self, stored: Stored, propagation: Propagation | None = None) -> tuple[Record, bool]:
        """Mark it, or take it away."""
        ...

    async def remove(self, stored: Stored, last: Json | None = None) -> None:
        """Take it away."""
        ...


async def terminate(writes: Writes, namespace: Stored, qualified: Qualified) -> Record:
    """Mark it, delete all that is in it, and take it away when nothing is left; its record with the mark."""
    metadata = {**namespace.body["metadata"], "deletionTimestamp": timestamp(writes.now)}
    body = {**namespace.body, "metadata": metadata, "status": {"phase": "Terminating"}}
    record = await writes.update(namespace, body)
    for key in await _contents(writes, record.key.name):
        stored = await writes.load(key)
        if stored is not None:
            await writes.delete(stored)
    await settle(writes, record.key.name, qualified)
    return record


async def settle(writes: Writes, name: str, qualified: Qualified) -> None:
    """After an object left namespace `name`: when it is Terminating, take it away, or say what it waits for."""
    namespace = await writes.load(Key(KIND, "", name))
    if namespace is None or "deletionTimestamp" not in namespace.body["metadata"]:
        return
    rows = await writes.connection.execute(select(OBJECTS.c.kind, OBJECTS.c.body).where(OBJECTS.c.namespace == name))
    left = [(kind, json.loads(body)["metadata"].get("finalizers") or []) for kind, body in rows.all()]
    if not left and not namespace.body["metadata"].get("finalizers"):
        await writes.remove(namespace)
        return
    if not left:
        return  # it waits for its own finalizers
    conditions = _conditions(left, qualified, timestamp(writes.now))
    status = {"phase": "Terminating", "conditions": conditions}
    await writes.update(namespace, {**namespace.body, "status": status})


async def _contents(writes: Writes, name: str) -> list[Key]:
    wanted = select(OBJECTS.c.kind, OBJECTS.c.name).where(OBJECTS.c.namespace == name)
    rows = await writes.connection.execute(wanted.order_by(OBJECTS.c.id))
    return [Key(kind, name, object_name) for kind, object_name in rows.all()]


def _conditions(left: list[tuple[str, list[str]]], qualified: Qualified, now: str) -> list[Json]:
    """In Kubernetes' words and order."""
    kinds = Counter(qualified(kind) for kind, _ in left)
    finalizers = Counter(finalizer for _, names in left for finalizer in names)
    remaining = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
    holding = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    done = "All content successfully deleted, may be waiting on finalization"
    told = [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", _PARSED),
        ("NamespaceDeletionContentFailure", "ContentDeleted", done),
        ("NamespaceContentRemaining", "SomeResourcesRemain", f"Some resources are remaining: {remaining}"),
        ("NamespaceFinalizersRemaining", "SomeFinalizersRemain", f"{_HELD}: {holding}"),
    ]
    return [
        {
            "type": type_,
            "status": "True" if type_.endswith("Remaining") else "False",
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for type_, reason, message in told
    ]


_PARSED = "All legacy kube types successfully parsed"
_HELD = "Some content in the namespace has finalizers remaining"
