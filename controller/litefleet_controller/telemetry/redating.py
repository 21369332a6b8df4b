"""Rows that came in while this machine's clock was wrong: what date they get once it is right.

Their real age is unknown, and small. Left as they are, those of 1970 would be deleted as soon as the clock is right,
the floors of boots that go on among them, and boards would wait for acknowledgements that have lost their ground; those
of 2061 would be kept until then.
"""

from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Update, or_, select, update

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.boardlog.rows import LOG
from litefleet_controller.telemetry.rows import ACKS, WINDOWS

_AHEAD = timedelta(days=1)
"""More than clocks of replicas differ by."""
_AT_ONCE = 5_000


async def redate(database: Database, now: datetime, earliest: datetime) -> int:
    """Give what is dated before `earliest`, or a day after `now`, the date of `now`; how many rows those were."""

    def is_wrong(dated: "Column[datetime]") -> ColumnElement[bool]:
        return or_(dated < earliest, dated > now + _AHEAD)

    changed = 0
    for table in (WINDOWS, LOG):
        portion = select(table.c.id).where(is_wrong(table.c.received_at)).limit(_AT_ONCE)
        statement = update(table).where(table.c.id.in_(portion)).values(received_at=now)
        while (done := await _rows(database, statement)) == _AT_ONCE:
            changed += done
        changed += done
    return changed + await _rows(database, update(ACKS).where(is_wrong(ACKS.c.updated_at)).values(updated_at=now))


async def _rows(database: Database, statement: Update) -> int:
    async with database.writing() as session:
        result = await (await session.connection()).execute(statement)
    return max(0, result.rowcount)
