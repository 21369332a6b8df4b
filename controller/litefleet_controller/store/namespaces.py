"""Namespaces: the tenants that objects live in. `default` exists from the first migration on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from litefleet_controller.resources.names import check_label
from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import AlreadyExistsError, NamespaceNotFoundError
from litefleet_controller.store.interface import Key
from litefleet_controller.store.tables import NAMESPACES


@dataclass(frozen=True, slots=True)
class Namespace:
    """A tenant."""

    name: str
    uid: str
    created_at: datetime


class SqlNamespaces:
    """Reads and makes namespaces."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime], uid: Callable[[], str]) -> None:
        self._database = database
        self._clock = clock
        self._uid = uid

    async def list(self) -> Sequence[Namespace]:
        """All, by name."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(NAMESPACES).order_by(NAMESPACES.c.name))).all()
        return [Namespace(*row) for row in rows]

    async def get(self, name: str) -> Namespace:
        """One.

        Raises:
            NamespaceNotFoundError: there is none of that name.
        """
        async with self._database.reading() as connection:
            row = (await connection.execute(select(NAMESPACES).where(NAMESPACES.c.name == name))).first()
        if row is None:
            raise NamespaceNotFoundError(name)
        return Namespace(*row)

    async def exists(self, name: str) -> bool:
        """Whether there is one of that name."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(NAMESPACES.c.name).where(NAMESPACES.c.name == name))
            return found.first() is not None

    async def create(self, name: str, *, dry_run: bool = False) -> Namespace:
        """A new one.

        Raises:
            AlreadyExistsError: the name is taken.
            ValueError: it is no RFC 1123 label.
        """
        namespace = Namespace(check_label(name), self._uid(), self._clock())
        async with self._database.writing() as session:
            connection = await session.connection()
            found = await connection.execute(select(NAMESPACES.c.name).where(NAMESPACES.c.name == name))
            if found.first() is not None:
                raise AlreadyExistsError(Key("Namespace", "", name))
            if not dry_run:
                values = {"name": namespace.name, "uid": namespace.uid, "created_at": namespace.created_at}
                await connection.execute(insert(NAMESPACES).values(values))
        return namespace
