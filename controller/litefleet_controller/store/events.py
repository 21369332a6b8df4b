"""Events (core/v1): what happened to an object, in one line, for `kubectl describe` and `get events`.

They are objects of kind `Event` in the same table, so that lists and watches work as for every kind. The same thing
happening again within an hour counts up instead of making another one. Only the newest of a namespace are kept.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, select

from litefleet_controller.resources.event import EVENT
from litefleet_controller.resources.meta import API_VERSION
from litefleet_controller.store.errors import NamespaceNotFoundError, NamespaceTerminatingError
from litefleet_controller.store.interface import FieldRequirement, Json, Key, Page, Query, Record
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.records import timestamp
from litefleet_controller.store.tables import OBJECTS
from litefleet_controller.store.transaction import ObjectTransaction

_SAME_WITHIN = timedelta(hours=1)
_MESSAGE_MAX = 1024
"""Characters, as in Kubernetes."""
_NAME_MAX = 253


class SqlEvents:
    """Records and lists events. `kept` is the largest number in a namespace."""

    def __init__(self, objects: SqlObjects, *, uid: Callable[[], str], kept: int = 2_000) -> None:
        self._objects = objects
        self._uid = uid
        self._kept = kept

    async def record(
        self,
        key: Key,
        uid: str,
        type: Literal["Normal", "Warning"],  # noqa: A002  # the field's name in core/v1
        reason: str,
        message: str,
        now: datetime,
        component: str,
    ) -> Record | None:
        """Note that `reason` happened to the object `key` with that `uid`; None when its namespace goes or is gone."""
        message = message if len(message) <= _MESSAGE_MAX else f"{message[: _MESSAGE_MAX - 3]}..."
        event_key = Key(EVENT.kind, key.namespace, _name(key, uid, type, reason, message, component))
        try:
            async with self._objects.transaction() as writes:
                return await self._record(writes, event_key, key, uid, type, reason, message, now, component)
        except (NamespaceNotFoundError, NamespaceTerminatingError):
            return None

    async def _record(
        self,
        writes: ObjectTransaction,
        event_key: Key,
        key: Key,
        uid: str,
        type_: str,
        reason: str,
        message: str,
        now: datetime,
        component: str,
    ) -> Record:
        earlier = await writes.load(event_key)
        seen = None if earlier is None else _last_seen(earlier.body)
        if earlier is not None and seen is not None and now - seen < _SAME_WITHIN:
            count = earlier.body.get("count") or 1
            again = {**earlier.body, "count": count + 1, "lastTimestamp": timestamp(now)}
            return await writes.update(earlier, again)
        if earlier is not None:
            await writes.remove(earlier)
        await writes.check_room(event_key)
        await self._make_room(writes, key.namespace)
        return await writes.insert(self._body(event_key, key, uid, type_, reason, message, now, component))

    async def list(
        self,
        namespace: str | None,
        fields: Sequence[FieldRequirement] = (),
        *,
        limit: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> Page:
        """Events, also to be had through `Objects.list` and `watch` with kind `Event`.

        Raises:
            FieldNotSelectableError: a field that isn't of involvedObject, reason or type.
        """
        return await self._objects.list(Query(EVENT.kind, namespace, fields=tuple(fields), limit=limit, after=after))

    def _body(
        self, event: Key, key: Key, uid: str, type_: str, reason: str, message: str, now: datetime, component: str
    ) -> Json:
        at = timestamp(now)
        return {
            "apiVersion": "v1",
            "kind": EVENT.kind,
            "metadata": {"name": event.name, "namespace": event.namespace, "uid": self._uid(), "creationTimestamp": at},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": key.kind,
                "namespace": key.namespace,
                "name": key.name,
                "uid": uid,
            },
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "eventTime": None,
            "count": 1,
        }

    async def _make_room(self, writes: ObjectTransaction, namespace: str) -> None:
        of_namespace = (OBJECTS.c.kind == EVENT.kind, OBJECTS.c.namespace == namespace)
        count: int = (
            await writes.connection.execute(select(func.count()).select_from(OBJECTS).where(*of_namespace))
        ).scalar_one()
        if count < self._kept:
            return
        oldest = await writes.connection.execute(
            select(OBJECTS.c.name)
            .where(*of_namespace)
            .order_by(OBJECTS.c.resource_version)
            .limit(count - self._kept + max(1, self._kept // 20))
        )
        for (name,) in oldest.all():
            stored = await writes.load(Key(EVENT.kind, namespace, name))
            if stored is not None:
                await writes.remove(stored)


def _last_seen(event: Json) -> datetime | None:
    """None when a client has emptied the field."""
    seen = event.get("lastTimestamp")
    return datetime.fromisoformat(seen.upper()) if seen else None


def _name(key: Key, *parts: str) -> str:
    """The same for the same thing happening to the same object."""
    digest = hashlib.sha256("\0".join((key.kind, *parts)).encode()).hexdigest()[:16]
    return f"{key.name[: _NAME_MAX - 17]}.{digest}"
