"""A real store on SQLite, with a clock that tests move."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.resources.registry import Registry
from litefleet_controller.sources.fetcher import BlobFetcher
from litefleet_controller.sources.fetches import Fetches
from litefleet_controller.sources.policy import SourcePolicy
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import Key, Record
from litefleet_controller.store.leases import SqlLeases
from litefleet_controller.store.objects import SqlObjects


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    database: Database
    objects: SqlObjects
    events: SqlEvents
    assignments: SqlAssignments
    leases: SqlLeases
    blobs: DirectoryBlobs
    fetches: Fetches
    shelf: Path
    """A folder that the controller may read."""
    clock: Clock

    async def create(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> Record:
        body = {
            "apiVersion": "litefleet.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "default", **metadata},
            "spec": spec,
        }
        return await self.objects.create(body)

    async def status(self, kind: str, name: str) -> dict[str, Any]:
        return (await self.objects.get(Key(kind, "default", name))).json().get("status") or {}

    async def set_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        await self.objects.mutate(
            Key(kind, "default", name), lambda body: {**body, "status": status}, subresource="status"
        )

    async def model(self, name: str = "digits", **spec: Any) -> Record:
        """A Model whose files were pushed."""
        digests = [await self.blobs.put(f"{name} {part}".encode()) for part in ("source", "evaluation", "calibration")]
        source, evaluation, calibration = (f"blob://{d}" for d in digests)
        return await self.create(
            "Model",
            name,
            {
                "source": {"uri": source},
                "evaluation": {"uri": evaluation},
                "calibration": {"uri": calibration},
                **spec,
            },
        )

    async def event_reasons(self) -> list[str]:
        page = await self.events.list("default")
        return [r.json()["reason"] for r in page.records]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = Clock()
    numbers = itertools.count(1)
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'litefleet.db'}")
    await database.migrate()
    blobs = DirectoryBlobs(tmp_path / "blobs")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    fetcher = BlobFetcher(blobs, tmp_path / "sources", SourcePolicy(folders=(shelf,)))
    fetches = Fetches(fetcher, clock.seconds)
    objects = SqlObjects(database, Registry(), clock=clock, uid=lambda: f"uid-{next(numbers)}")
    yield World(
        database=database,
        objects=objects,
        events=SqlEvents(objects, uid=lambda: f"event-{next(numbers)}"),
        assignments=SqlAssignments(database, objects),
        leases=SqlLeases(database),
        blobs=blobs,
        fetches=fetches,
        shelf=shelf,
        clock=clock,
    )
    await fetches.close()
    await objects.aclose()
    await database.close()
