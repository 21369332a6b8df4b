"""What a wrong clock dated gets a date once the clock is right."""

from datetime import UTC, datetime, timedelta

import pytest

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.query import SqlTelemetry, retention
from litefleet_controller.telemetry.redating import redate
from litefleet_controller.telemetry.rows import insert_windows, read_floors, row_of, write_floors
from tests.controller.telemetry.conftest import window

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 30, tzinfo=UTC)
KEPT = timedelta(days=30)


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2061, 1, 1, tzinfo=UTC)])
async def test_windows_and_floors_of_a_wrong_clock_are_kept_as_long_as_those_of_today(
    database: Database, wrong: datetime
) -> None:
    dates = [wrong, wrong + timedelta(seconds=1), NOW - timedelta(days=2)]
    async with database.writing() as session:
        await insert_windows(
            session,
            [
                row_of(
                    window(n), device="a", namespace="default", device_class="pi", rollout=None, received_at=date,
                    clock_untrusted=False,
                )
                for n, date in enumerate(dates)
            ],
        )  # fmt: skip
        await write_floors(session, {("a", "goes-on"): 5}, wrong)
        await write_floors(session, {("a", "long-gone"): 7}, NOW - timedelta(days=60))
    assert await redate(database, NOW, WRITTEN) == 3
    assert await retention(database, NOW - KEPT) == 0
    seen = [w.received_at for _, w in await SqlTelemetry(database.sessions).windows("default")]
    assert sorted(seen) == [NOW - timedelta(days=2), NOW, NOW]
    async with database.sessions() as session:
        assert await read_floors(session, [("a", "goes-on"), ("a", "long-gone")]) == {("a", "goes-on"): 5}
    assert await redate(database, NOW, WRITTEN) == 0
    assert await retention(database, NOW + KEPT + timedelta(days=1) - KEPT) == 3
