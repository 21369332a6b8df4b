"""A real SQLite database for each test, a clock that the test moves, uids that count up."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects


@dataclass
class Clock:
    now: datetime = field(default=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uid() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"uid-{next(numbers)}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'litefleet.sqlite'}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def objects(database: Database, clock: Clock, uid: Callable[[], str]) -> AsyncIterator[SqlObjects]:
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid)
    yield objects
    await objects.aclose()


@pytest.fixture
def device() -> Callable[..., dict[str, Any]]:
    def build(name: str = "pi-1", *, device_class: str = "pi4", **metadata: Any) -> dict[str, Any]:
        return {
            "apiVersion": "litefleet.dev/v1alpha1",
            "kind": "Device",
            "metadata": {"name": name, **metadata},
            "spec": {"class": device_class},
        }

    return build


@pytest.fixture
def rollout() -> Callable[..., dict[str, Any]]:
    def build(name: str = "digits", **metadata: Any) -> dict[str, Any]:
        return {
            "apiVersion": "litefleet.dev/v1alpha1",
            "kind": "ModelRollout",
            "metadata": {"name": name, **metadata},
            "spec": {"modelRef": {"name": "digits"}},
        }

    return build
