"""The collector: what becomes of the objects that a deleted one owns.

- Background: the owner goes at once; a dependent goes with its last owner, else it loses the reference.
- Foreground: the owner waits, held by a finalizer, until the dependents that block it (blockOwnerDeletion) are gone.
- Orphan: the owner waits, held by a finalizer, until its dependents have lost the reference; they stay.

Kubernetes does this in a controller some time later. Here it is part of the transaction that deletes: nobody ever sees
a dependent without its owner, and nothing is left to do after a crash. Work is queued, never recursive, so that a long
chain of owners costs no stack.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.interface import Json, Key, Propagation, Record
from litefleet_controller.store.lifecycle import FOREGROUND, ORPHAN, released, unblocking, without_owners
from litefleet_controller.store.records import OWNER_KEY, Stored, key_of
from litefleet_controller.store.tables import OBJECT_INDEX, OBJECTS


class Writes(Protocol):
    """The transaction that the collector works in."""

    connection: AsyncConnection

    async def load(self, key: Key) -> Stored | None:
        """The object."""
        ...

    async def update(self, stored: Stored, body: Json) -> Record:
        """Write it; take it away when it is finished."""
        ...

    async def delete(self, stored: Stored, propagation: Propagation | None = None) -> tuple[Record, bool]:
        """Mark it, or take it away."""
        ...


@dataclass(slots=True)
class Collector:
    """One transaction's. `gone` and `touched` only note; `run` does the work, once, in the outermost call."""

    writes: Writes
    _gone: deque[Record] = field(default_factory=deque)
    _waiting: deque[Key] = field(default_factory=deque)
    _running: bool = False

    def gone(self, record: Record) -> None:
        """An object was taken away: its dependents are next."""
        self._gone.append(record)

    def waits(self, body: Json) -> None:
        """An object is marked: perhaps it waits for the collector."""
        finalizers = body["metadata"].get("finalizers") or ()
        if "deletionTimestamp" in body["metadata"] and (FOREGROUND in finalizers or ORPHAN in finalizers):
            self._waiting.append(key_of(body))

    async def touched(self, *bodies: Json) -> None:
        """A dependent came, went or changed: look at those of its owners that wait."""
        references = [o for b in bodies for o in b["metadata"].get("ownerReferences") or ()]
        for _, owner in await self._existing(bodies[0], references):
            self.waits(owner)

    async def run(self) -> None:
        """Until nothing is left to do."""
        if self._running:
            return
        self._running = True
        while self._gone or self._waiting:
            if self._gone:
                await self._collect(self._gone.popleft())
            else:
                await self._settle(self._waiting.popleft())
        self._running = False

    async def is_orphan(self, body: Json) -> bool:
        """Whether it names owners, none of which exists."""
        owners = body["metadata"].get("ownerReferences") or ()
        return bool(owners) and not await self._existing(body, owners)

    async def _collect(self, owner: Record) -> None:
        for key in await self._dependents(owner.uid, owner.key.namespace):
            dependent = await self.writes.load(key)
            if dependent is None:
                continue
            rest = without_owners(dependent.body, {owner.uid})
            if rest["metadata"].get("ownerReferences") and not await self.is_orphan(rest):
                await self.writes.update(dependent, rest)
            else:
                await self.writes.delete(dependent)

    async def _settle(self, key: Key) -> None:
        owner = await self.writes.load(key)
        if owner is None or "deletionTimestamp" not in owner.body["metadata"]:
            return
        finalizers = owner.body["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            await self._release_dependents(owner)
            await self.writes.update(owner, released(owner.body, ORPHAN))
        elif FOREGROUND in finalizers and not await self._delete_blocking(owner):
            await self.writes.update(owner, released(owner.body, FOREGROUND))

    async def _release_dependents(self, owner: Stored) -> None:
        metadata = owner.body["metadata"]
        for key in await self._dependents(metadata["uid"], metadata.get("namespace", "")):
            dependent = await self.writes.load(key)
            if dependent is not None:
                await self.writes.update(dependent, without_owners(dependent.body, {metadata["uid"]}))

    async def _delete_blocking(self, owner: Stored) -> bool:
        """Delete the dependents that block the owner; whether some still do."""
        uid, namespace = owner.body["metadata"]["uid"], owner.record.key.namespace
        blocked = False
        for key in await self._dependents(uid, namespace):
            dependent = await self.writes.load(key)
            if dependent is None or not _blocks(dependent.body, uid):
                continue
            if "deletionTimestamp" not in dependent.body["metadata"] and await self._let_go(dependent):
                continue
            blocked = True
        return blocked

    async def _let_go(self, dependent: Stored) -> bool:
        """Take a dependent of a waiting owner away, or the reference to that owner when others keep it."""
        metadata = dependent.body["metadata"]
        existing = await self._existing(dependent.body, metadata["ownerReferences"])
        solid = {uid for uid, body in existing if not _waits_for_dependents(body)}
        if solid:
            lost = {o["uid"] for o in metadata["ownerReferences"]} - solid
            await self.writes.update(dependent, without_owners(dependent.body, lost))
            return True
        under = await self._dependents(metadata["uid"], metadata.get("namespace", ""))
        below = [await self.writes.load(key) for key in under]
        if any(b is not None and _waits_for_dependents(b.body) for b in below):
            # A circle of owners, each of which would wait for the next: this one blocks nobody any more.
            record = await self.writes.update(dependent, unblocking(dependent.body))
            dependent = Stored(dependent.id, record, json.loads(record.body))
            await self.writes.delete(dependent, "Foreground")
            return True
        _, gone = await self.writes.delete(dependent, "Foreground" if below else None)
        return gone

    async def _dependents(self, uid: str, namespace: str) -> list[Key]:
        rows = await self.writes.connection.execute(
            select(OBJECTS.c.kind, OBJECTS.c.namespace, OBJECTS.c.name)
            .join(OBJECT_INDEX, OBJECT_INDEX.c.object_id == OBJECTS.c.id)
            .where(OBJECT_INDEX.c.key == OWNER_KEY, OBJECT_INDEX.c.value == uid, OBJECTS.c.namespace == namespace)
            .order_by(OBJECTS.c.id)
        )
        return [Key(*row) for row in rows.all()]

    async def _existing(self, body: Json, references: Sequence[Json]) -> list[tuple[str, Json]]:
        """Those of the owners that exist, as (uid, object)."""
        uids = {o["uid"] for o in references}
        if not uids:
            return []
        rows = await self.writes.connection.execute(
            select(OBJECTS.c.uid, OBJECTS.c.body).where(
                OBJECTS.c.uid.in_(uids), OBJECTS.c.namespace == body["metadata"].get("namespace", "")
            )
        )
        return [(uid, json.loads(found)) for uid, found in rows.all()]


def _blocks(body: Json, owner_uid: str) -> bool:
    owners = body["metadata"].get("ownerReferences") or ()
    return any(o["uid"] == owner_uid and o.get("blockOwnerDeletion") for o in owners)


def _waits_for_dependents(body: Json) -> bool:
    metadata = body["metadata"]
    return "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or ())
