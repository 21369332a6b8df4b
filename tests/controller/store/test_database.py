"""The database: schema, transactions, concurrency, and being killed."""

import asyncio
import json
import random
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

import litefleet_controller.identity.tables
import litefleet_controller.telemetry.boardlog.tables
import litefleet_controller.telemetry.tables  # noqa: F401  # all fill SQLModel.metadata
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import DatabaseFullError, DatabaseLockedError, DatabaseVersionError
from litefleet_controller.store.interface import Key, Query
from litefleet_controller.store.leases import SqlLeases
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.tables import OBJECTS, REVISION


async def test_the_migrations_make_exactly_the_tables_of_the_models(database):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), SQLModel.metadata)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(database, url, objects, device):
    record = await objects.create(device())
    await database.migrate()
    other = Database(url)
    await other.migrate()
    await other.close()
    assert await objects.get(record.key) == record


async def test_two_processes_may_migrate_at_once(url):
    databases = [Database(url) for _ in range(3)]
    await asyncio.gather(*(d.migrate() for d in databases))
    for database in databases:
        async with database.reading() as connection:
            assert (await connection.execute(select(OBJECTS.c.name))).scalars().all() == ["default"]
        await database.close()


async def test_a_database_of_a_newer_program_is_refused(database, url):
    with sqlite3.connect(url.partition(":///")[2]) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(DatabaseVersionError, match="newer litefleet"):
        await database.migrate()


async def test_a_failed_transaction_writes_nothing_and_frees_the_lock(database):

    async def fail():
        async with database.writing() as session:
            await (await session.connection()).execute(update(REVISION).values(value=99))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.writing() as session:
        assert (await (await session.connection()).execute(select(REVISION.c.value))).scalar_one() == 1


async def test_a_reader_sees_one_state_and_does_not_wait_for_a_writer(database):
    async with database.reading() as reader:
        assert (await reader.execute(select(REVISION.c.value))).scalar_one() == 1
        async with asyncio.timeout(10):
            async with database.writing() as session:
                await (await session.connection()).execute(update(REVISION).values(value=2))
        assert (await reader.execute(select(REVISION.c.value))).scalar_one() == 1


async def test_a_cancelled_writer_leaves_all_or_nothing(database, objects, device):
    """Cancelled at any point, a create is there with its history or not at all, and the next writer gets its turn."""
    chance = random.Random(1)
    for i in range(60):
        task = asyncio.create_task(objects.create(device(f"d{i}")))
        await asyncio.sleep(chance.random() * 0.008)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(20):
        await objects.create(device("last"))
    page = await objects.list(Query("Device"))
    versions = sorted(r.resource_version for r in page.records)
    assert versions == list(range(2, len(versions) + 2))


async def test_forty_writers_make_exactly_the_acknowledged_increments(url, database, objects, device):
    """Half of them through an engine of their own, as another process would."""
    other_database = Database(url)
    other = SqlObjects(other_database, Registry(), clock=lambda: datetime.now(UTC), uid=lambda: str(uuid4()))
    key = (await objects.create(device(annotations={"count": "0"}))).key

    def increment(body):
        body["metadata"]["annotations"]["count"] = str(int(body["metadata"]["annotations"]["count"]) + 1)
        return body

    async def write(store):
        for _ in range(5):
            await store.mutate(key, increment)
        return 5

    acknowledged = sum(await asyncio.gather(*(write(objects if i % 2 else other) for i in range(40))))
    record = await objects.get(key)
    assert int(record.json()["metadata"]["annotations"]["count"]) == acknowledged == 200
    assert record.resource_version == await objects.resource_version() == 202
    await other.aclose()
    await other_database.close()


_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from uuid import uuid4
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.interface import Assignment, AssignmentBatch, Key, StatusWrite
from litefleet_controller.store.objects import SqlObjects

async def main():
    database = Database(sys.argv[1])
    objects = SqlObjects(database, Registry(), clock=lambda: datetime.now(UTC), uid=lambda: str(uuid4()))
    assignments = SqlAssignments(database, objects)
    record = await objects.get(Key("ModelRollout", "default", "digits"))
    number = record.json().get("status", {}).get("currentStepIndex", 0)
    while True:
        number += 1
        rows = [
            Assignment("default", f"pi-{i}", "digits", f"v{number}", "sha256:1", None, "digits", 1.0, None, None, None, datetime.now(UTC))
            for i in range(20)
        ]
        status = StatusWrite(record.key, record.resource_version, {"currentStepIndex": number})
        record = await assignments.commit(AssignmentBatch(set=rows, status=status), epoch=1)
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_writer_killed_in_mid_commit_leaves_all_or_nothing(url, database, objects, rollout):
    """kill -9 at random moments: what was acknowledged is there, and boards, counters and status belong together."""
    await SqlLeases(database).acquire("me", datetime.now(UTC), 3600)
    await objects.create(rollout())
    assignments = SqlAssignments(database, objects)
    chance = random.Random(7)
    for _ in range(3):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, url, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            await child.stdout.readline()
            await asyncio.sleep(0.02 + chance.random() * 0.1)
            child.send_signal(signal.SIGKILL)
            printed = (await child.stdout.read()).split()
            await child.wait()
        record = await objects.get(Key("ModelRollout", "default", "digits"))
        number = record.json()["status"]["currentStepIndex"]
        assert not printed or number >= int(printed[-1])
        rows = await assignments.of_slot("default", "digits")
        assert {row.version for row in rows} == {f"v{number}"}
        assert {counter for _, _, counter in await assignments.devices()} == {number}
        assert record.resource_version == await objects.resource_version()
    with sqlite3.connect(url.partition(":///")[2]) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        newest = raw.execute("SELECT body FROM changes ORDER BY resource_version DESC LIMIT 1").fetchone()[0]
    raw.close()
    assert json.loads(newest) == record.json()


def path_of(url):
    return url.partition(":///")[2]


async def test_a_lock_that_another_process_keeps_is_told_after_the_busy_timeout(url, database):
    waits_little = Database(url, busy_timeout_ms=50)
    with closing(sqlite3.connect(path_of(url))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLockedError, match="end what locks it"):
            async with waits_little.writing():
                pass
        assert isinstance(waits_little.trouble, DatabaseLockedError)
    async with waits_little.writing():
        pass
    assert waits_little.trouble is None
    await waits_little.close()


async def test_readers_go_on_while_another_process_keeps_the_lock(url, database):
    with closing(sqlite3.connect(path_of(url))) as other:
        other.execute("BEGIN IMMEDIATE")
        async with database.reading() as connection:
            assert (await connection.execute(select(REVISION.c.value))).scalar_one() == 1
    assert database.trouble is None


async def test_writers_that_queue_behind_each_other_are_told_within_a_bound(url, database):
    """Else each would wait a busy timeout more than the one before it."""
    waits_little = Database(url, busy_timeout_ms=300, turn_s=0.4)

    async def write():
        async with waits_little.writing():
            pass

    with closing(sqlite3.connect(path_of(url))) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(*(write() for _ in range(10)), return_exceptions=True)
    assert [type(o) for o in outcomes] == [DatabaseLockedError] * 10
    await waits_little.close()


async def test_a_queue_of_writers_that_moves_is_waited_for_however_long_it_is(url, database):
    waits_little = Database(url, turn_s=0.2)
    done = []

    async def write(number):
        async with waits_little.writing():
            await asyncio.sleep(0.1)
            done.append(number)

    await asyncio.gather(*(write(n) for n in range(8)))
    assert sorted(done) == list(range(8))
    await waits_little.close()


async def test_a_transaction_that_changes_nothing_is_no_proof_that_there_is_room_again(database):
    """On a full disk it ends well."""

    async def write(pages, *statements):
        async with database.writing() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            for statement in statements:
                await connection.exec_driver_sql(statement)

    with pytest.raises(DatabaseFullError):
        await write(1, "CREATE TABLE more AS SELECT randomblob(100000) AS data")
    async with database.writing() as session:
        wrote = await session.connection()
        assert (await wrote.exec_driver_sql("SELECT changes()")).scalar_one() == 1
        assert isinstance(database.trouble, DatabaseFullError)
    assert database.trouble is None


async def test_a_disk_that_is_full_is_an_error_and_changes_nothing(database, objects, device):
    record = await objects.create(device())

    async def fill():
        async with database.writing() as session:
            connection = await session.connection()
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")  # Of this connection alone.
            made = {"kind": "Device", "namespace": "default", "resource_version": 1, "generation": 1, "labels": "{}"}
            rows = [{**made, "name": f"n{i}", "uid": f"x{i}", "body": b"x" * 100} for i in range(1000)]
            await connection.execute(insert(OBJECTS), rows)

    with pytest.raises(DatabaseFullError, match="free some space"):
        await fill()
    assert await objects.get(record.key) == record
    assert [r.key for r in (await objects.list(Query("Device"))).records] == [record.key]
