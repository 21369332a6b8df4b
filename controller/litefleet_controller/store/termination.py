"""The end of a namespace: its objects go first, and it goes with the last of them.

Kubernetes does this in a controller. Here the delete does it in its own transaction, as far as one portion goes: a
transaction keeps all other writers waiting. Of more than that the rest follows, portion by portion (`endings`), and
what finalizers hold back goes on when they are taken away, in the transaction that does so.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.errors import ProtectedError
from litefleet_controller.store.interface import Json, Key, Propagation, Record
from litefleet_controller.store.records import Stored, timestamp
from litefleet_controller.store.tables import OBJECTS

KIND = "Namespace"
_DEFAULT = "default"
PORTION = 100
"""Objects that one transaction deletes: some tenths of a second."""
Qualified = Callable[[str], str]
"""From a kind's name to its plural and group, as conditions name it."""
Farewell = Callable[[AsyncConnection, str, datetime], Awaitable[bool]]
"""Lets go of what else belongs to a namespace of that name, at that time; whether nothing is left of it.

Called when no object is in it any more, and again, in further transactions, until it says so. Whoever makes a namespace
of the same name later must find nothing of the old one: no token that opens it, no figure.
"""


async def nothing_more(_connection: AsyncConnection, _name: str, _now: datetime) -> bool:
    """A `Farewell` for a store that is all there is."""
    return True


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


def is_terminating(namespace: Json) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in namespace["metadata"]


@dataclass(slots=True)
class Termination:
    """One transaction's."""

    writes: Writes
    qualified: Qualified
    farewell: Farewell
    unfinished: dict[str, int] = field(default_factory=dict)
    """Namespaces of which more is left to do at once, each with where to go on."""
    _emptying: bool = False

    async def begin(self, namespace: Stored) -> Record:
        """Mark it and delete its first portion; its record with the mark.

        Raises:
            ProtectedError: it is the one that must stay.
        """
        if namespace.record.key.name == _DEFAULT:
            raise ProtectedError(namespace.record.key)
        if is_terminating(namespace.body):
            return namespace.record
        metadata = {**namespace.body["metadata"], "deletionTimestamp": timestamp(self.writes.now)}
        body = {**namespace.body, "metadata": metadata, "status": {"phase": "Terminating"}}
        record = await self.writes.update(namespace, body)
        await self.go_on(record.key.name, 0)
        return record

    async def go_on(self, name: str, after: int) -> None:
        """Delete the next portion of what is in it, past the row `after`; after the last one, see what is left."""
        wanted = select(OBJECTS.c.id, OBJECTS.c.kind, OBJECTS.c.name).where(OBJECTS.c.namespace == name)
        found = await self.writes.connection.execute(
            wanted.where(OBJECTS.c.id > after).order_by(OBJECTS.c.id).limit(PORTION)
        )
        rows = found.all()
        self._emptying = True
        for _, kind, object_name in rows:
            stored = await self.writes.load(Key(kind, name, object_name))
            if stored is not None:  # else it went with its owner
                await self.writes.delete(stored)
        self._emptying = False
        if len(rows) == PORTION:
            self.unfinished[name] = rows[-1].id
        else:
            await self.settle(name)

    async def settle(self, name: str) -> None:
        """After an object left namespace `name`: when that is Terminating, take it away, or say what it waits for."""
        if self._emptying:
            return
        namespace = await self.writes.load(Key(KIND, "", name))
        if namespace is None or not is_terminating(namespace.body):
            return
        wanted = select(OBJECTS.c.kind, OBJECTS.c.body).where(OBJECTS.c.namespace == name)
        rows = (await self.writes.connection.execute(wanted)).all()
        if rows:
            left = [(kind, json.loads(body)["metadata"].get("finalizers") or []) for kind, body in rows]
            since = {c["type"]: c["lastTransitionTime"] for c in namespace.body["status"].get("conditions", ())}
            conditions = _conditions(left, self.qualified, since, timestamp(self.writes.now))
            status = {"phase": "Terminating", "conditions": conditions}
            await self.writes.update(namespace, {**namespace.body, "status": status})
        elif namespace.body["metadata"].get("finalizers"):
            return  # it waits for its own
        elif await self.farewell(self.writes.connection, name, self.writes.now):
            await self.writes.remove(namespace)
        else:
            self.unfinished[name] = 0


def _conditions(
    left: list[tuple[str, list[str]]], qualified: Qualified, since: Mapping[str, str], now: str
) -> list[Json]:
    """In Kubernetes' words and order. Each keeps its status for as long as the namespace goes."""
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
            "lastTransitionTime": since.get(type_, now),
            "reason": reason,
            "message": message,
        }
        for type_, reason, message in told
    ]


_PARSED = "All legacy kube types successfully parsed"
_HELD = "Some content in the namespace has finalizers remaining"
