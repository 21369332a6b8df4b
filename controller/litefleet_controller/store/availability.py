"""Whether the database can be used: what its driver says when it can't, in the store's own words.

A disk that is full and a lock that somebody else holds are no faults of ours. Both end by themselves or by a person's
doing, so whoever runs into them is told which it is and tries again. `trouble` remembers the newest, for `/readyz`: the
leader renews its lease every few seconds, which is the write that finds out that it is over.
"""

from typing import Any

from sqlalchemy import update
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.errors import DatabaseFullError, DatabaseLockedError, UnavailableError
from litefleet_controller.store.tables import REVISION

_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")
"""SQLite's own word, and what it says when the files beside the database can't grow."""
_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
_POSTGRESQL_FULL, _POSTGRESQL_LOCKED = "53100", "55P03"


class Availability:
    """The newest trouble of one database."""

    def __init__(self) -> None:
        self.trouble: UnavailableError | None = None
        """None once something was written since."""

    def translate(self, context: ExceptionContext) -> UnavailableError | None:
        """The store's error, to be raised in place of the driver's. For SQLAlchemy's `handle_error`."""
        found = unavailable(context.original_exception)
        if found is not None:
            self.trouble = found
        return found

    async def prove(self, connection: AsyncConnection) -> None:
        """While there is trouble, have this transaction write: one that only reads ends well on a full disk, too."""
        if self.trouble is not None:
            await connection.execute(update(REVISION).values(value=REVISION.c.value))


def unavailable(error: BaseException) -> UnavailableError | None:
    """A driver's error as the store's, when it says that the database can't be used now."""
    name: str = getattr(error, "sqlite_errorname", None) or ""
    state: Any = getattr(error, "sqlstate", None)
    if name in _FULL or state == _POSTGRESQL_FULL:
        return DatabaseFullError(str(error))
    if name.startswith(_LOCKED) or state == _POSTGRESQL_LOCKED:
        return DatabaseLockedError(str(error))
    return None
