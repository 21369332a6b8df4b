"""What lasts: the database with everything on it, and the blobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from litefleet_controller.app.settings import WRITTEN, Settings, is_plausible, new_uid, utc_now
from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.artifacts.manifest import ArtifactStore
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.tokens import end_tokens
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.leases import SqlLeases
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.telemetry.boardlog import rows as boardlog
from litefleet_controller.telemetry.boardlog.query import SqlBoardLogs
from litefleet_controller.telemetry.query import SqlTelemetry, forget, retention
from litefleet_controller.telemetry.redating import redate

log = structlog.get_logger()

RETENTION_S = 3600.0
TELEMETRY_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Persistence:
    """What lasts."""

    database: Database
    objects: SqlObjects
    events: SqlEvents
    assignments: SqlAssignments
    leases: SqlLeases
    telemetry: SqlTelemetry
    logs: SqlBoardLogs
    blobs: DirectoryBlobs
    artifacts: ArtifactStore


@asynccontextmanager
async def persistence(settings: Settings, authority: Authority) -> AsyncIterator[Persistence]:
    """The database, migrated, and the blobs; closed at the end. Namespaces that were going go on."""
    database = Database(f"sqlite+aiosqlite:///{settings.data_dir / 'litefleet.db'}")
    await database.migrate()
    objects = SqlObjects(database, Registry(), clock=utc_now, uid=new_uid, farewell=end_tenant)
    await objects.resume()
    blobs = DirectoryBlobs(settings.data_dir / "blobs")
    try:
        yield Persistence(
            database=database,
            objects=objects,
            events=SqlEvents(objects, uid=new_uid),
            assignments=SqlAssignments(database, objects),
            leases=SqlLeases(database),
            telemetry=SqlTelemetry(database.sessions),
            logs=SqlBoardLogs(database.sessions),
            blobs=blobs,
            artifacts=ArtifactStore(blobs, authority.signer, settings.data_dir / "artifacts"),
        )
    finally:
        await objects.aclose()
        await database.close()


async def end_tenant(connection: AsyncConnection, namespace: str, now: datetime) -> bool:
    """What ends with a namespace beside its objects. See `store.termination.Farewell`."""
    await end_tokens(connection, namespace, now)
    logs_gone = await boardlog.forget(connection, namespace)
    return await forget(connection, namespace) and logs_gone


async def forget_log(database: Database, namespace: str, device: str) -> None:
    """Delete the log of a board that is gone."""
    async with database.writing() as session:
        await boardlog.forget_board(await session.connection(), namespace, device)


async def _forget_old_logs(database: Database, before: datetime) -> None:
    done = False
    while not done:
        async with database.writing() as session:
            done = await boardlog.expire(await session.connection(), before)


async def forget_old_telemetry(database: Database, clock: Callable[[], datetime] = utc_now) -> None:
    """Delete what is older than is kept, now and then, until cancelled. Never by a clock that can't be right."""
    while True:
        now = clock()
        try:
            if is_plausible(now):
                redated = await redate(database, now, WRITTEN)
                removed = await retention(database, now - TELEMETRY_KEPT)
                await _forget_old_logs(database, now - TELEMETRY_KEPT)
                log.info("telemetry_retention", removed=removed, redated=redated)
            else:
                log.warning("telemetry_retention_put_off", reason="the clock is wrong", now=now.isoformat())
        except Exception:
            log.exception("telemetry_retention_failed")
        await asyncio.sleep(RETENTION_S)
