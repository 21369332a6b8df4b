"""A served API with TLS, SQLite and tokens, and a home from which the real kubectl asks it."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Certificate, Server
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import Key
from litefleet_controller.store.objects import SqlObjects

PROGRAM = Path(sys.executable).with_name("kubectl")
ROLLOUT = Key("ModelRollout", "default", "digits-line-a")
MANIFEST: dict[str, Any] = {
    "apiVersion": "litefleet.dev/v1alpha1",
    "kind": "ModelRollout",
    "metadata": {"name": "digits-line-a", "labels": {"site": "a"}},
    "spec": {
        "modelRef": {"name": "digits"},
        "selector": {"matchLabels": {"site": "a"}},
        "strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "10m"}}]}},
    },
}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class Cluster:
    """A served API and a home for kubectl."""

    home: Path
    objects: SqlObjects
    events: SqlEvents
    tokens: AccessTokens
    address: str
    ca: Path
    program: Path = PROGRAM

    async def kubectl(
        self, *arguments: str, stdin: str = "", user: str = "ada", code: int | None = 0, **env: str
    ) -> Result:
        process = await self.start(*arguments, user=user, **env)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        result = Result(process.returncode or 0, out.decode(), err.decode())
        assert code is None or result.code == code, result
        return result

    async def start(self, *arguments: str, user: str = "ada", **env: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.program,
            f"--kubeconfig={self.home / user}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], **env},
        )

    async def login(self, user: str, role: Role, namespace: str | None = None) -> None:
        token = await self.tokens.create(user, role, namespace, None, datetime.now(UTC))
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "l", "cluster": {"server": self.address, "certificate-authority": str(self.ca)}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "l", "context": {"cluster": "l", "user": user, "namespace": namespace or "default"}}],
            "current-context": "l",
        }
        (self.home / user).write_text(yaml.safe_dump(config))

    def manifest(self, change: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
        body = json.loads(json.dumps(MANIFEST))
        change(body)
        path = self.home / f"{uuid.uuid4().hex}.yaml"
        path.write_text(yaml.safe_dump(body))
        return str(path)

    async def applied(self) -> str:
        path = self.manifest()
        await self.kubectl("apply", "-f", path)
        return path

    async def create_dependent(self, name: str, **metadata: Any) -> Key:
        """A rollout that the applied one owns and that blocks its foreground deletion."""
        owner = await self.objects.get(ROLLOUT)
        reference = {"apiVersion": MANIFEST["apiVersion"], "kind": "ModelRollout", "name": owner.key.name}
        owners = [{**reference, "uid": owner.uid, "blockOwnerDeletion": True}]
        body = {**MANIFEST, "metadata": {"name": name, "ownerReferences": owners, **metadata}}
        return (await self.objects.create(body)).key

    async def status(self, status: dict[str, Any]) -> None:
        def change(body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "status": status}

        await self.objects.mutate(ROLLOUT, change, subresource="status")


@pytest.fixture
def registry() -> Registry:
    """The kinds that are served; a module may say otherwise."""
    return Registry()


@pytest.fixture
async def cluster(tmp_path: Path, registry: Registry) -> AsyncIterator[Cluster]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db.sqlite'}")
    await database.migrate()

    def uid() -> str:
        return str(uuid.uuid4())

    def clock() -> datetime:
        return datetime.now(UTC)

    objects = SqlObjects(database, registry, clock=clock, uid=uid)
    tokens = AccessTokens(database.sessions)
    deps = ApiDependencies(registry, objects, tokens.authenticate, allowed, clock)
    authority = Authority.open(tmp_path / "ca")
    certificate, key = authority.server_certificate("litefleet", ["127.0.0.1"], clock())
    files = Certificate(tmp_path / "server.pem", tmp_path / "server.key")
    files.chain.write_text(certificate)
    files.key.write_text(key)
    (tmp_path / "ca.pem").write_text(authority.ca_pem)
    server = Server(create_api(deps), "127.0.0.1", 0, certificate=files, before_stop=deps.closing.set)
    host, port = await server.start()
    events = SqlEvents(objects, uid=uid)
    cluster = Cluster(tmp_path, objects, events, tokens, f"https://{host}:{port}", tmp_path / "ca.pem")
    await cluster.login("ada", Role.ADMIN)
    yield cluster
    await server.stop()
    await objects.aclose()
    await database.close()


async def watches(process: asyncio.subprocess.Process) -> None:
    """Until kubectl's own log says that it opened a watch."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"watch=true" not in (line := await process.stderr.readline()):
            assert line, "kubectl ended without a watch"
