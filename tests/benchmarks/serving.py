"""A served API in this process, whose CPU is measured, and clients in others, whose CPU isn't."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.types import ASGIApp

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Server
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects

DEVICES = "/apis/litefleet.dev/v1alpha1/namespaces/default/devices"


@dataclass(frozen=True, slots=True)
class Api:
    objects: SqlObjects
    port: int
    token: str


@asynccontextmanager
async def served_api(folder: Path) -> AsyncIterator[Api]:
    database = Database(f"sqlite+aiosqlite:///{folder / 'db'}")
    await database.migrate()
    numbers = itertools.count()

    def uid() -> str:
        return f"uid-{next(numbers)}"

    objects = SqlObjects(database, Registry(), clock=_now, uid=uid, watch_capacity=100_000)
    tokens = AccessTokens(database.sessions)
    token = await tokens.create("bench", Role.ADMIN, None, None, _now())
    deps = ApiDependencies(Registry(), objects, tokens.authenticate, allowed, _now)
    async with served(create_api(deps), stopping=deps.closing.set) as port:
        yield Api(objects, port, token)
    await objects.aclose()
    await database.close()


@asynccontextmanager
async def served(app: ASGIApp, stopping: object = None) -> AsyncIterator[int]:
    """Its port."""
    server = Server(app, "127.0.0.1", 0, before_stop=stopping if callable(stopping) else lambda: None)
    _, port = await server.start()
    yield port
    await server.stop()


async def child(code: str, *arguments: object) -> asyncio.subprocess.Process:
    """A Python program beside this one."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE
    )


def _now() -> datetime:
    return datetime.now(UTC)
