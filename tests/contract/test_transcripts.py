"""The recorded scenarios of a real API server, replayed against ours: each case agrees, or the docs say why it doesn't.

The kinds are those of the recordings' own CRDs, so this tests the machinery and not litefleet's kinds.
"""

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies, Person
from litefleet_controller.api.server import Server
from litefleet_controller.resources.crd import kind_from_crd
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.interface import Query
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.store.tables import REVISION
from litefleet_controller.store.transaction import Retention
from tests.contract.builtins import JOB, LEASE, suspend
from tests.contract.transcripts import Answer, Bindings, Exchange, differences, load

REPOSITORY = Path(__file__).parents[2]
RECORDINGS = REPOSITORY.parent / "shared" / "fixtures" / "kube-transcripts.jsonl"
TABLE = REPOSITORY / "docs" / "kubernetes-api.md"
SCENARIOS = (
    *("create", "get", "list", "watch", "put", "generation", "patch", "apply", "dry-run", "delete", "events", "lease"),
    *("job", "auth", "discovery", "unsupported", "expired"),
)
_BEFORE = 1000
"""Version that the database starts at: the recordings ask for versions long forgotten."""

pytestmark = pytest.mark.skipif(
    not RECORDINGS.exists(),
    reason=f"the recorded transcripts aren't there: {RECORDINGS} (they are not in the repository)",
)


@cache
def recordings() -> dict[str, list[Exchange]]:
    return load(RECORDINGS)


@cache
def intended() -> dict[str, str]:
    """Case -> why we differ, from the table in the docs."""
    rows = re.findall(r"^\| ((?:`[a-z0-9/-]+`,? ?)+)\| (.+?) \| (.+?) \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    return {case: why for cases, _, why in rows for case in re.findall(r"`([^`]+)`", cases)}


@dataclass(frozen=True)
class Someone:
    name: str
    role: str
    namespace: str | None = None

    @property
    def uid(self) -> str:
        return self.name

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.name,)


_PEOPLE = {"admin-token": Someone("admin", "admin"), "nobody-token": Someone("dev", "viewer")}


async def _authenticate(token: str, _now: datetime) -> Person | None:
    return _PEOPLE.get(token)


def _allowed(person: Person, _verb: str, resource: str, _namespace: str | None) -> bool:
    """The admin may everything, and everyone ask about himself."""
    return person.role == "admin" or resource.startswith("selfsubject")


@dataclass(frozen=True)
class World:
    client: httpx.AsyncClient
    objects: SqlObjects


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "db.sqlite"


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> AsyncIterator[World]:
    if not template.exists():
        fresh = Database(f"sqlite+aiosqlite:///{template}")
        await fresh.migrate()
        async with fresh.writing() as session:
            await (await session.connection()).execute(update(REVISION).values(value=_BEFORE))
        await fresh.close()
    shutil.copy(template, tmp_path / "db.sqlite")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db.sqlite'}")
    crds = [e for e in recordings()["setup"] if e.request["method"] == "POST"]
    registry = Registry((*(kind_from_crd(e.request["body"]) for e in crds), LEASE, JOB))
    numbers = itertools.count(1)
    # One moment for a whole scenario: entries of managedFields go by seconds, and the recordings were made quickly.
    now = datetime.now(UTC)

    def clock() -> datetime:
        return now

    def uid() -> str:
        return f"00000000-0000-4000-8000-{next(numbers):012}"

    objects = SqlObjects(database, registry, clock=clock, uid=uid, retention=Retention())
    deps = ApiDependencies(registry, objects, _authenticate, _allowed, clock, anonymous=True)
    server = Server(create_api(deps), "127.0.0.1", 0, before_stop=deps.closing.set)
    host, port = await server.start()
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        yield World(client, objects)
    await server.stop()
    await objects.aclose()
    await database.close()


def _body(given: Any) -> bytes | None:
    if given is None:
        return None
    if isinstance(given, dict) and "repeat" in given:
        repeat = given["repeat"]
        return json.dumps(repeat["template"]).replace("<fill>", repeat["fill"] * repeat["count"]).encode()
    return given.encode() if isinstance(given, str) else json.dumps(given).encode()


async def _send(client: httpx.AsyncClient, exchange: Exchange, bindings: Bindings) -> Answer:
    wanted = exchange.request
    path = bindings.fill(wanted["path"])
    request = client.build_request(wanted["method"], path, content=_body(bindings.fill(wanted.get("body"))))
    sent = {"Host": request.headers["host"], "User-Agent": "transcript/1.0", "Accept-Encoding": "identity"}
    if "content-length" in request.headers:
        sent["Content-Length"] = request.headers["content-length"]
    request.headers = httpx.Headers({**sent, **bindings.fill(wanted["headers"])})
    response = await client.send(request, stream=bool(exchange.during))
    if not exchange.during:
        return _answer(response, response.content)
    parts: list[bytes] = []
    results: list[Answer] = []
    async for part in response.aiter_raw():
        parts.append(part)
        if not results and b"initial-events-end" in b"".join(parts):
            results = [await _send(client, inner, bindings) for inner in exchange.during]
            for inner, result in zip(exchange.during, results, strict=True):
                differences(inner, result, bindings)
    await response.aclose()
    return _answer(response, b"".join(parts))


def _answer(response: httpx.Response, body: bytes) -> Answer:
    headers: dict[str, list[str]] = {}
    for name, value in response.headers.multi_items():
        headers.setdefault(name.lower(), []).append(value)
    return Answer(response.status_code, headers, body)


async def _control_jobs(objects: SqlObjects) -> None:
    """What the Job controller did while the recordings were made."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for record in (await objects.list(Query("Job"))).records:
        await objects.mutate(record.key, lambda job: suspend(job, now), subresource="status", manager="job-controller")


async def replay(world: World, scenario: str) -> dict[str, list[str]]:
    """Differences by case; none for one that agrees."""
    if scenario != "default":
        await world.objects.create(manifest(scenario), manager="transcript")
    bindings = Bindings({"<token:admin>": "admin-token", "<token:nobody>": "nobody-token", "<token:bad>": "bad-token"})
    results: dict[str, list[str]] = {}
    disordered = 0
    for exchange in recordings()[scenario]:
        try:
            async with asyncio.timeout(30):
                answer = await _send(world.client, exchange, bindings)
        except KeyError as e:
            results[exchange.case] = [f"needs {e}, which no answer has shown"]
            continue
        if scenario == "job":
            await _control_jobs(world.objects)
        found = differences(exchange, answer, bindings)
        disorder = bindings.disorder()
        if len(disorder) > disordered:
            found += disorder[disordered:]
            disordered = len(disorder)
        results[exchange.case] = found
    return results


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario_goes_as_recorded_but_for_intended_differences(world: World, scenario: str) -> None:
    results = await replay(world, scenario)
    unexplained = {case: found for case, found in results.items() if found and case not in intended()}
    assert unexplained == {}
    # A line for a case that agrees would say something untrue of the server.
    assert [case for case, found in results.items() if not found and case in intended()] == []
