"""Leadership as one row: whoever holds the lease leads, and every taking of it raises the epoch.

A lease is over when its end has passed, when its holder was a process of this machine that is gone, or when this
process has watched it for a whole term of its own without seeing it renewed. The last needs no clock to be right: a
holder whose clock says 2061 writes an end in 2061, and nobody else would ever lead again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.store.database import Database
from litefleet_controller.store.holders import is_gone
from litefleet_controller.store.interface import Lease
from litefleet_controller.store.tables import LEASES

LEADER = "leader"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class SqlLeases:
    """See `interface.Leases`."""

    def __init__(
        self,
        database: Database,
        *,
        gone: Callable[[str], bool] = is_gone,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gone` says of a holder's name whether that process has certainly ended."""
        self._database = database
        self._gone = gone
        self._monotonic = monotonic
        self._watched: tuple[Lease | None, float] = (None, 0.0)
        """Another's lease as it was last seen to change, and when that was."""

    async def acquire(self, holder: str, now: datetime, seconds: float) -> Lease | None:
        """See `interface.Leases.acquire`. A holder that let its lease run out takes it anew, with a higher epoch."""
        async with self._database.writing() as session:
            connection = await session.connection()
            current = await current_lease(connection)
            runs = current is not None and current.expires_at > now
            if current is not None and runs and current.holder != holder:
                if not self._is_over(current, seconds):
                    return None
                runs = False
            epoch = current.epoch if current is not None else 0
            lease = Lease(holder, epoch if runs else epoch + 1, now + timedelta(seconds=seconds))
            if current is None:
                await connection.execute(insert(LEASES).values(name=LEADER, **_columns(lease)))
            else:
                await _write(connection, lease)
        return lease

    def _is_over(self, lease: Lease, seconds: float) -> bool:
        """Whether another's lease, whose end has not passed, is over all the same."""
        seen, since = self._watched
        if seen != lease:
            self._watched = (lease, self._monotonic())
        elif self._monotonic() - since >= seconds:
            return True
        return self._gone(lease.holder)

    async def release(self, holder: str) -> None:
        """See `interface.Leases.release`. The row stays, for its epoch."""
        async with self._database.writing() as session:
            connection = await session.connection()
            current = await current_lease(connection)
            if current is not None and current.holder == holder:
                await _write(connection, Lease("", current.epoch, _LONG_AGO))

    async def raise_epoch(self, holder: str, at_least: int) -> Lease | None:
        """See `interface.Leases.raise_epoch`. None when `holder` doesn't hold the lease."""
        async with self._database.writing() as session:
            connection = await session.connection()
            current = await current_lease(connection)
            if current is None or current.holder != holder:
                return None
            lease = Lease(holder, max(current.epoch, at_least), current.expires_at)
            await _write(connection, lease)
        return lease


async def current_lease(connection: AsyncConnection) -> Lease | None:
    """The lease's row, locked until the transaction ends."""
    found = await connection.execute(
        select(LEASES.c.holder, LEASES.c.epoch, LEASES.c.expires_at).where(LEASES.c.name == LEADER).with_for_update()
    )
    row = found.first()
    return Lease(*row) if row is not None else None


async def _write(connection: AsyncConnection, lease: Lease) -> None:
    await connection.execute(update(LEASES).where(LEASES.c.name == LEADER).values(_columns(lease)))


def _columns(lease: Lease) -> dict[str, object]:
    return {"holder": lease.holder, "epoch": lease.epoch, "expires_at": lease.expires_at}
