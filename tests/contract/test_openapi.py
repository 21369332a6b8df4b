"""Every operation of the served OpenAPI documents, asked for more than it promises: no fault, nothing undocumented.

Bounded and seeded, so that it is a test and not a campaign. The calls go over HTTP to the real API over SQLite.
"""

import asyncio
import itertools
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Server
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.crd import kind_from_crd
from litefleet_controller.resources.registry import KINDS, Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects
from tests.controller.cli.conftest import Controller
from tests.gadgets import CRD

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OWN, CUSTOM = "apis/litefleet.dev/v1alpha1", "apis/example.com/v1"
DOCUMENTS = [
    *(OWN, CUSTOM, "api/v1", "apis/events.k8s.io/v1"),
    *("apis/authorization.k8s.io/v1", "apis/authentication.k8s.io/v1"),
]
THERE: dict[str, dict[str, Any]] = {
    "models": {
        "source": {"uri": f"blob://sha256:{'0' * 64}"},
        "evaluation": {"uri": f"blob://sha256:{'0' * 64}"},
    },
    "deviceclasses": {"variants": ["int8"]},
    "devices": {"class": "pi4"},
    "modelrollouts": {"modelRef": {"name": "digits"}},
    "gadgets": {"replicas": 1},
}
"""A spec for one object of most kinds, which a random name would never meet."""
BOUNDED = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Served:
    address: str
    token: str


class Background:
    """The API on a loop of its own: schemathesis calls it without one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self.served = Served("", "")

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self) -> None:
        def clock() -> datetime:
            return datetime.now(UTC)

        def uid() -> str:
            return str(uuid.uuid4())

        database = Database(f"sqlite+aiosqlite:///{self._folder / 'db.sqlite'}")
        await database.migrate()
        registry = Registry((*KINDS, kind_from_crd(CRD)))
        objects = SqlObjects(database, registry, clock=clock, uid=uid)
        tokens = AccessTokens(database.sessions)
        deps = ApiDependencies(registry, objects, tokens.authenticate, allowed, clock)
        token = await tokens.create("ada", Role.ADMIN, None, None, clock())
        server = Server(create_api(deps), "127.0.0.1", 0, before_stop=deps.closing.set)
        host, port = await server.start()
        self.served = Served(f"http://{host}:{port}", token)
        for plural, spec in THERE.items():
            kind = registry.plural(plural)
            assert kind is not None
            metadata = {"name": "board", "finalizers": ["litefleet.dev/stays"]}
            await objects.create(
                {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
            )
        self._ready.set()
        await self._stop.wait()
        await server.stop()
        await objects.aclose()
        await database.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    background = Background(tmp_path_factory.mktemp("api"))
    background.start()
    yield background.served
    background.stop()


def test_every_document_of_the_index_is_asked(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    index = httpx.get(f"{served.address}/openapi/v3", headers=headers).json()
    assert sorted(index["paths"]) == sorted([*DOCUMENTS, "version"])


@pytest.mark.parametrize("name", [d for d in DOCUMENTS if d != CUSTOM])
def test_every_field_has_a_description(served: Served, name: str) -> None:
    """What `kubectl explain` shows; a CRD's descriptions are its author's."""
    headers = {"Authorization": f"Bearer {served.token}"}
    schemas = httpx.get(f"{served.address}/openapi/v3/{name}", headers=headers).json()["components"]["schemas"]
    assert [path for kind, schema in schemas.items() for path in _undescribed(schema, kind)] == []


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("description"):
            yield f"{path}.{name}"
        yield from _undescribed(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from _undescribed(schema[part], f"{path}[]")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_faults_and_nothing_is_undocumented(served: Served, name: str) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    document = httpx.get(f"{served.address}/openapi/v3/{name}", headers=headers).json()
    schema = schemathesis.openapi.from_dict(document)
    asked = 0
    session = requests.Session()
    aimed = itertools.cycle([True, False])
    for found in schema.get_all_operations():

        @BOUNDED
        @given(case=found.ok().as_strategy())
        def ask(case: schemathesis.Case) -> None:
            _without_streams(case)
            if next(aimed):
                _aim(case)
            case.call_and_validate(base_url=served.address, headers=headers, session=session, checks=CHECKS)

        ask()
        asked += 1
    session.close()
    assert asked == sum(method in path for path in document["paths"].values() for method in _METHODS)


def test_ordinary_answers_are_as_documented(served: Served) -> None:
    """What random names never reach: objects that exist, from creation to deletion."""
    headers = {"Authorization": f"Bearer {served.token}"}
    document = httpx.get(f"{served.address}/openapi/v3/{OWN}", headers=headers).json()
    schema = schemathesis.openapi.from_dict(document)
    collection = "/apis/litefleet.dev/v1alpha1/namespaces/{namespace}/devices"
    board: dict[str, Any] = {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": "fresh", "finalizers": ["litefleet.dev/hold"]},
        "spec": {"class": "pi4"},
    }
    merge = {"Content-Type": "application/merge-patch+json"}
    with requests.Session() as session:
        session.headers.update(headers)

        def ask(method: str, path: str, json: object = None, **more: str) -> int:
            url = served.address + path.format(namespace="default", name="fresh")
            answer = session.request(method, url, json=json, headers=more)
            schema[path][method].validate_response(answer)
            return answer.status_code

        one = f"{collection}/{{name}}"
        assert ask("POST", collection, board) == 201
        assert [ask("GET", path) for path in (collection, one, f"{one}/status")] == [200, 200, 200]
        assert ask("PATCH", f"{one}/status", {"status": {"connection": "Online"}}, **merge) == 200
        assert (
            ask("PUT", one, session.get(served.address + one.format(namespace="default", name="fresh")).json()) == 200
        )
        assert ask("DELETE", one) == 200
        assert ask("PATCH", one, {"metadata": {"finalizers": None}}, **merge) == 200
        del board["metadata"]["finalizers"]
        assert ask("POST", collection, board) == 201
        assert ask("DELETE", one) == 200
        assert ask("DELETE", collection) == 200
        assert ask("GET", one) == 404


def test_the_fleet_api_neither_faults_nor_answers_undocumented(tmp_path: Path) -> None:
    controller = Controller(tmp_path)
    try:
        (tmp_path / "ca.pem").write_text(controller.authority.ca_pem)
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {controller.admin}"
            session.trust_env = False  # a CA bundle in the environment would win
            session.verify = str(tmp_path / "ca.pem")
            document = session.get(f"{controller.url}/openapi.json").json()
            for found in schemathesis.openapi.from_dict(document).get_all_operations():

                @BOUNDED
                @given(case=found.ok().as_strategy())
                def ask(case: schemathesis.Case) -> None:
                    arguments = {"session": session, "verify": session.verify, "headers": dict(session.headers)}
                    case.call_and_validate(base_url=controller.url, checks=CHECKS, **arguments)

                ask()
    finally:
        controller.stop()


_METHODS = ("get", "put", "post", "patch", "delete")


def _aim(case: schemathesis.Case) -> None:
    """At an object that is there."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = "default" if name == "namespace" else "board"


def _without_streams(case: schemathesis.Case) -> None:
    """A watch answers until its time is up; watches have tests of their own."""
    case.query.pop("watch", None)
