"""What the composed store keeps, and what it lets go of."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litefleet_controller.app.persistence import Persistence, forget_old_telemetry, persistence
from litefleet_controller.app.settings import Settings, is_plausible
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import TokenError
from litefleet_controller.identity.roles import Role
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.store.interface import Key

NOW = datetime.now(UTC)
LINE = Key("Namespace", "", "line-a")


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Persistence]:
    async with persistence(Settings(data_dir=tmp_path), Authority.open(tmp_path / "ca")) as keep:
        await keep.objects.create(manifest("line-a"))
        yield keep


async def replaced(keep: Persistence) -> None:
    """Another tenant under the old one's name."""
    await keep.objects.delete(LINE)
    await keep.objects.create(manifest("line-a"))


async def test_people_of_a_deleted_namespace_are_not_let_into_the_next_of_its_name(keep: Persistence) -> None:
    tokens = AccessTokens(keep.database.sessions)
    bound = await tokens.create("old", Role.ADMIN, "line-a", None, NOW)
    others = [await tokens.create("ada", Role.ADMIN, scope, None, NOW) for scope in (None, "default")]
    await replaced(keep)
    assert await tokens.authenticate(bound, NOW) is None
    assert None not in [await tokens.authenticate(token, NOW) for token in others]


@pytest.mark.parametrize("used", [False, True])
async def test_boards_of_a_deleted_namespace_do_not_join_the_next_of_its_name(keep: Persistence, used: bool) -> None:
    """A used one counts too: its board may ask again for some minutes."""
    tokens = EnrollmentTokens(keep.database.sessions)
    secret = await tokens.create("line-a", 600, NOW, "ada")
    if used:
        await tokens.redeem(secret, "pi-1", "a" * 64, NOW)
    await replaced(keep)
    with pytest.raises(TokenError, match="no such enrollment token"):
        await tokens.redeem(secret, "pi-1", "a" * 64, NOW)


@pytest.mark.parametrize(("year", "plausible"), [(1970, False), (2025, False), (2027, True), (2061, False)])
def test_a_clock_is_believed_from_when_this_was_written_for_ten_years(year: int, plausible: bool) -> None:
    assert is_plausible(datetime(year, 6, 1, tzinfo=UTC)) is plausible


@pytest.mark.parametrize(("ahead_days", "left"), [(35 * 365, 1), (31, 0), (29, 1)])
async def test_old_telemetry_is_deleted_but_not_by_a_clock_that_can_not_be_right(
    keep: Persistence, tmp_path: Path, ahead_days: int, left: int
) -> None:
    with sqlite3.connect(tmp_path / "litefleet.db") as database:
        names = [str(row[1]) for row in database.execute("pragma table_info(telemetry_windows)")]
        given = {
            "received_at": NOW.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "latency": b"",
            "confidence": b"",
            "classes": "{}",
        }
        database.execute(
            f"insert into telemetry_windows ({', '.join(names)}) values ({', '.join('?' * len(names))})",
            [given.get(name, 1) for name in names],
        )
    looked = asyncio.Event()

    def clock() -> datetime:
        looked.set()
        return NOW + timedelta(days=ahead_days)

    task = asyncio.create_task(forget_old_telemetry(keep.database, clock))
    await looked.wait()
    with sqlite3.connect(tmp_path / "litefleet.db") as database:
        for _ in range(100):
            (count,) = database.execute("select count(*) from telemetry_windows").fetchone()
            if count == left:
                break
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert count == left
