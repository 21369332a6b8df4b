"""The real API over the real store and the real tokens, in memory of one test."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Server
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.transaction import Retention

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
GROUP = "/apis/litefleet.dev/v1alpha1"
NS = f"{GROUP}/namespaces/default"
DIGEST = "sha256:" + "0" * 64


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    app: FastAPI
    deps: ApiDependencies
    objects: SqlObjects
    events: SqlEvents
    tokens: AccessTokens
    clock: Clock
    admin: str

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """In-process; None is the admin, an empty string nobody."""
        headers = {} if token == "" else {"Authorization": f"Bearer {token or self.admin}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test", headers=headers)

    async def token(self, role: Role, namespace: str | None = None) -> str:
        return await self.tokens.create(role.value, role, namespace, None, self.clock())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated database: made by the first test that needs it, copied by all."""
    return tmp_path_factory.mktemp("template") / "db.sqlite"


@pytest.fixture
async def database(template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    if not template.exists():
        fresh = Database(f"sqlite+aiosqlite:///{template}")
        await fresh.migrate()
        await fresh.close()
    shutil.copy(template, tmp_path / "db.sqlite")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db.sqlite'}")
    yield database
    await database.close()


@pytest.fixture
def retention() -> Retention:
    """How much history the store keeps; a module may say otherwise."""
    return Retention()


@pytest.fixture
async def world(database: Database, retention: Retention) -> AsyncIterator[World]:
    clock = Clock()
    numbers = itertools.count(1)
    uid: Callable[[], str] = lambda: f"00000000-0000-4000-8000-{next(numbers):012}"  # noqa: E731
    objects = SqlObjects(database, Registry(), clock=clock, uid=uid, retention=retention)
    tokens = AccessTokens(database.sessions)
    deps = ApiDependencies(
        registry=Registry(),
        objects=objects,
        authenticate=tokens.authenticate,
        allowed=allowed,
        clock=clock,
        trouble=lambda: database.trouble,
        recheck_s=0.05,
    )
    admin = await tokens.create("ada", Role.ADMIN, None, None, clock())
    yield World(create_api(deps), deps, objects, SqlEvents(objects, uid=uid), tokens, clock, admin)
    await objects.aclose()


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """As the admin."""
    async with world.client() as client:
        yield client


@pytest.fixture
async def live(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """As the admin, over a real socket, for what streams."""
    server = Server(world.app, "127.0.0.1", 0, before_stop=world.deps.closing.set)
    host, port = await server.start()
    headers = {"Authorization": f"Bearer {world.admin}"}
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=20) as client:
        yield client
    await server.stop()


def rollout(name: str = "r1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name},
        "spec": {"modelRef": {"name": "digits"}, **spec},
    }


def device(name: str, labels: dict[str, str] | None = None, device_class: str = "pi4") -> dict[str, Any]:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"class": device_class},
    }


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
