"""Lists as they were: the page of an earlier resourceVersion, from the newest state and the changes since.

A list that comes in pages must not mix states, so its later pages are read at the first one's version. What changed
since then is undone: the first change of an object after that version knows what the object was before. So a page
costs no copy of anything, as long as the history that watches need is kept anyway.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.errors import ExpiredError
from litefleet_controller.store.interface import Page, Query, Record
from litefleet_controller.store.records import decoded, index_entries
from litefleet_controller.store.selectors import after, condition, matches
from litefleet_controller.store.tables import CHANGES, OBJECTS
from litefleet_controller.store.transaction import LISTED, record_of_row

Position = tuple[str, str]
"""(namespace, name), the order of lists."""


@dataclass(frozen=True, slots=True)
class PastList:
    """A list at `version`, which is older than the newest. `fields` are the kind's selectable ones."""

    connection: AsyncConnection
    query: Query
    version: int
    fields: tuple[str, ...]

    async def page(self) -> Page:
        """What the query selects.

        Raises:
            ExpiredError: changes since that version are forgotten.
        """
        before = await self._undone()
        names = (select(OBJECTS.c.namespace, OBJECTS.c.name)).where(condition(self.query), *self._after())
        now = [(namespace, name) for namespace, name in (await self.connection.execute(names)).all()]
        places = sorted([*(p for p in now if p not in before), *(p for p, r in before.items() if r is not None)])
        shown = places if self.query.limit is None else places[: self.query.limit]
        unchanged = await self._unchanged(shown, before)
        records = [unchanged[p] if p in unchanged else _present(before[p]) for p in shown]
        return Page(records, self.version, len(places) - len(shown))

    async def _undone(self) -> Mapping[Position, Record | None]:
        """What changed since, as it was: the object, or None where there was none that the query selects."""
        oldest: int | None = (await self.connection.execute(select(func.min(CHANGES.c.resource_version)))).scalar()
        if oldest is None or self.version < oldest - 1:
            raise ExpiredError(self.version, oldest or self.version)
        first = (
            select(func.min(CHANGES.c.resource_version))
            .where(CHANGES.c.kind == self.query.kind, CHANGES.c.resource_version > self.version)
            .group_by(CHANGES.c.namespace, CHANGES.c.name)
        )
        wanted = select(CHANGES.c.namespace, CHANGES.c.name, CHANGES.c.previous).where(
            CHANGES.c.resource_version.in_(first)
        )
        rows = (await self.connection.execute(wanted)).all()
        return {(namespace, name): self._selected(namespace, name, body) for namespace, name, body in rows}

    def _selected(self, namespace: str, name: str, body: bytes | None) -> Record | None:
        if body is None or (self.query.after is not None and (namespace, name) <= self.query.after):
            return None
        entries = index_entries(json.loads(body), self.fields)
        return decoded(body) if matches(self.query, namespace, name, entries) else None

    async def _unchanged(
        self, shown: list[Position], before: Mapping[Position, Record | None]
    ) -> Mapping[Position, Record]:
        if not shown:
            return {}
        wanted = (
            select(*LISTED).where(condition(self.query), *self._after()).order_by(OBJECTS.c.namespace, OBJECTS.c.name)
        )
        if self.query.limit is not None:
            wanted = wanted.limit(len(shown) + len(before))
        rows = [record_of_row(row) for row in (await self.connection.execute(wanted)).all()]
        found = {(r.key.namespace, r.key.name): r for r in rows}
        return {place: record for place, record in found.items() if place not in before}

    def _after(self) -> list[ColumnElement[bool]]:
        return [] if self.query.after is None else [after(self.query.after)]


def _present(record: Record | None) -> Record:
    if record is None:
        raise AssertionError("a place that is shown has a record")
    return record
