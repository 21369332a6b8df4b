"""A database that can't be used now: 503 with what it is and what to do, and no trace of a fault."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import DatabaseFullError

from .conftest import NS

DEVICE = {
    "apiVersion": "litefleet.dev/v1alpha1",
    "kind": "Device",
    "metadata": {"name": "pi-1"},
    "spec": {"class": "pi4"},
}


@pytest.fixture
async def database(template, tmp_path):
    """One that waits for nobody for long."""
    fresh = Database(f"sqlite+aiosqlite:///{template}")
    await fresh.migrate()
    await fresh.close()
    shutil.copy(template, tmp_path / "db.sqlite")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db.sqlite'}", busy_timeout_ms=50)
    yield database
    await database.close()


@pytest.fixture
def locked(tmp_path, api):
    with closing(sqlite3.connect(tmp_path / "db.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def test_a_write_to_a_locked_database_says_so_and_when_to_come_again(api, locked):
    with capture_logs() as logs:
        answer = await api.post(f"{NS}/devices", json=DEVICE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    status = answer.json()
    assert (status["kind"], status["reason"], status["details"]["retryAfterSeconds"]) == (
        "Status",
        "ServiceUnavailable",
        2,
    )
    assert status["details"]["causes"][0]["code"] == "DatabaseLocked"
    assert "nothing was changed: try again" in status["message"]
    assert logs == []


async def test_once_the_lock_is_gone_the_same_write_is_done_and_readiness_is_back(api, locked):
    await api.post(f"{NS}/devices", json=DEVICE)
    unready = await api.get("/readyz")
    assert (unready.status_code, unready.json()["details"]["causes"][0]["code"]) == (503, "DatabaseLocked")
    locked.rollback()
    assert (await api.post(f"{NS}/devices", json=DEVICE)).status_code == 201
    assert (await api.get("/readyz")).status_code == 200


async def test_reads_are_answered_while_the_database_is_locked(api, locked):
    assert (await api.get(f"{NS}/devices")).status_code == 200


async def test_a_full_disk_is_told_at_the_write_and_by_readyz(api, database):
    async def fill():
        async with database.writing() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("PRAGMA max_page_count=1")
            await connection.exec_driver_sql("CREATE TABLE more AS SELECT randomblob(100000) AS data")

    with pytest.raises(DatabaseFullError):
        await fill()
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["details"]["causes"][0]["code"] == "StorageFull"
    assert "free some space" in answer.json()["message"]
    assert "sqlite" not in answer.text.lower()
    assert (await api.get("/livez")).status_code == 200
