"""A real controller's API over TLS, in a thread of its own, and the command line run against it in this process."""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog

from litefleet_controller.api.app import create_api
from litefleet_controller.api.fleet import FleetDependencies, fleet_router
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Certificate, Server
from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.cli import main
from litefleet_controller.fleet.boardlog import BoardLog
from litefleet_controller.fleet.enroll import BrokerAddress, Enrollment, EnrollmentPorts
from litefleet_controller.fleet.explaining import Explanations
from litefleet_controller.fleet.push import Uploads
from litefleet_controller.fleet.queries import Queries
from litefleet_controller.fleet.report import Reports
from litefleet_controller.fleet.verbs import Verbs
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens
from litefleet_controller.resources.namespace import manifest as namespace_manifest
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import Key, Patch
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.telemetry.boardlog.query import SqlBoardLogs
from litefleet_controller.telemetry.query import SqlTelemetry

T = TypeVar("T")
Json = dict[str, Any]


def clock() -> datetime:
    return datetime.now(UTC)


class Controller:
    """The API, served by a thread with its own event loop. `run` does something in that loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="controller", daemon=True)
        self._thread.start()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def close_door(self) -> None:
        """As while a controller restarts."""
        self.run(self.server.stop())

    def open_door(self) -> None:
        self.run(self._serve(self.port))

    def kubeconfig(self, path: Path, namespace: str, token: str | None = None) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "litefleet",
            "contexts": [
                {"name": "litefleet", "context": {"cluster": "litefleet", "user": "ada", "namespace": namespace}}
            ],
            "clusters": [
                {
                    "name": "litefleet",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority-data": base64.b64encode(self.authority.ca_pem.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": "ada", "user": {"token": self.admin if token is None else token}}],
        }
        path.write_text(json.dumps(config))
        return path

    async def _start(self) -> None:
        uids = itertools.count(1)
        self.database = Database(f"sqlite+aiosqlite:///{self._directory / 'db.sqlite'}")
        await self.database.migrate()

        def uid() -> str:
            return f"00000000-0000-4000-8000-{next(uids):012}"

        self.objects = SqlObjects(self.database, Registry(), clock=clock, uid=uid)
        self.events = SqlEvents(self.objects, uid=uid)
        self.authority = Authority.open(self._directory / "authority")
        self.tokens = AccessTokens(self.database.sessions)
        self.admin = await self.tokens.create("ada", Role.ADMIN, None, None, clock())
        api = ApiDependencies(
            registry=Registry(),
            objects=self.objects,
            authenticate=self.tokens.authenticate,
            allowed=allowed,
            clock=clock,
        )
        app = create_api(api)
        app.include_router(fleet_router(self._fleet(api)))
        chain, key = self.authority.server_certificate("litefleet", ["127.0.0.1", "localhost"], clock())
        (self._directory / "server.pem").write_text(chain)
        (self._directory / "server.key").write_text(key)
        self._app, self._closing = app, api.closing
        await self._serve(0)

    async def _serve(self, port: int) -> None:
        self._closing.clear()
        certificate = Certificate(self._directory / "server.pem", self._directory / "server.key")
        self.server = Server(self._app, "127.0.0.1", port, certificate=certificate, before_stop=self._closing.set)
        host, self.port = await self.server.start()
        self.url = f"https://{host}:{self.port}"

    def _fleet(self, api: ApiDependencies) -> FleetDependencies:
        async def granted(device: str, namespace: str) -> None:
            self.granted.append((device, namespace))

        self.granted: list[tuple[str, str]] = []
        ids = itertools.count(1)
        self.blobs = blobs = DirectoryBlobs(self._directory / "blobs")
        (self._directory / "uploads").mkdir()
        ports = EnrollmentPorts(EnrollmentTokens(self.database.sessions), self.authority, self.objects, granted)
        return FleetDependencies(
            api,
            Enrollment(ports, BrokerAddress("127.0.0.1", 8883)),
            Uploads(blobs, scratch=self._directory / "uploads", max_bytes=1_000_000),
            blobs,
            Verbs(self.objects, lambda: f"r{next(ids)}"),
            Queries(self.objects, SqlTelemetry(self.database.sessions)),
            Explanations(self.objects, blobs),
            BoardLog(self.objects, SqlBoardLogs(self.database.sessions), look_s=0.02),
            Reports(self.objects, blobs, SqlTelemetry(self.database.sessions)),
        )

    async def _stop(self) -> None:
        await self.server.stop()
        await self.objects.aclose()
        await self.database.close()


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    # The server shares this process with the commands: its log must not end up in their output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    started = Controller(tmp_path_factory.mktemp("controller"))
    yield started
    started.stop()
    structlog.reset_defaults()


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


class _Stdin(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


@dataclass
class Shell:
    """Runs `litefleet` in a namespace of its own."""

    controller: Controller
    namespace: str
    kubeconfig: Path
    directory: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Result:
        out, err = io.StringIO(), io.StringIO()
        before, sys.stdin = sys.stdin, _Stdin(stdin)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.MonkeyPatch.context() as patch,
            ):
                patch.setenv("LITEFLEET_KUBECONFIG", str(self.kubeconfig))
                for name, value in self.variables.items():
                    patch.setenv(name, value)
                try:
                    main([str(a) for a in arguments])
                    code = 0
                except SystemExit as e:
                    code = int(e.code or 0)
        finally:
            sys.stdin = before
        return Result(code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: object, stdin: bytes = b"") -> str:
        result = self(*arguments, stdin=stdin)
        assert result.code == 0, result
        return result.out

    def refused(self, *arguments: object, stdin: bytes = b"", code: int = 1) -> str:
        """stderr of a command that must fail without changing stdout, and without a traceback."""
        result = self(*arguments, stdin=stdin)
        assert (result.code, result.out) == (code, ""), result
        assert "Traceback" not in result.err
        return result.err.rstrip("\n")

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def key(self, kind: str, name: str) -> Key:
        return Key(kind, self.namespace, name)

    def object(self, kind: str, name: str) -> Json:
        return self.controller.run(self.controller.objects.get(self.key(kind, name))).json()

    def set_status(self, kind: str, name: str, status: Json) -> None:
        patch = Patch("merge", {"status": status})
        self.controller.run(self.controller.objects.patch(self.key(kind, name), patch, subresource="status"))


_namespaces = itertools.count(1)


@pytest.fixture
def shell(controller: Controller, tmp_path: Path) -> Shell:
    namespace = f"t{next(_namespaces)}"
    controller.run(controller.objects.create(namespace_manifest(namespace)))
    return Shell(controller, namespace, controller.kubeconfig(tmp_path / "kubeconfig", namespace), tmp_path)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def manifest(kind: str, name: str, spec: str, **metadata: object) -> str:
    more = "".join(f"  {k}: {json.dumps(v)}\n" for k, v in metadata.items())
    body = "".join(f"  {line}\n" for line in spec.strip().splitlines())
    return f"apiVersion: litefleet.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n{more}spec:\n{body}"


CLASS = manifest("DeviceClass", "rpi-4", "variants: [int8, float16]")
ROLLOUT = manifest("ModelRollout", "line-a", "modelRef: {name: digits}\nstrategy: {canary: {steps: [{setWeight: 5}]}}")
