"""A site for faults of wires and clocks: the real controller with its mosquitto, and real agents, as processes.

Only the converter stands in (tests/ready_made.py). Every board answers all the time, and at the end `Site.audit` holds
every line against the model that it names, and the controller's telemetry against the lines.
"""

import asyncio
import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from litefleet_agent.runtime.litert import LiteRT
from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.cli.client import Client
from litefleet_controller.cli.demo.processes import Child, agent_command, stop, wait_for_line
from litefleet_controller.cli.kubeconfig import load
from tests.agent.artifacts import golden_for, npz, sha
from tests.agent.data.make_models import Graph
from tests.flow.fleet import FLEET, KUBE, Fleet, Json

CLASS = "small-board"
SLOT = "digits"
_INPUTS = 3


@dataclass(frozen=True)
class Source:
    """A model that can be released, and what it answers to each input."""

    uri: str
    sha256: str
    answers: Mapping[str, tuple[float, ...]]


@dataclass
class Audit:
    """What was found wrong at the end; all of it has to be nothing."""

    lost: int = 0
    """Inputs without an answer: gaps in the numbers of a run, and errors."""
    wrong: int = 0
    """Answers that the version they name doesn't give, or that name a version which was never released."""
    answers: int = 0
    miscounted: int = 0
    """Answers that telemetry counted more than once, or not at all."""
    believed: int = 0
    """Windows whose time is wrong by more than a day and that aren't marked so."""


@dataclass
class Site(Fleet):
    """One controller and its boards."""

    environment: dict[str, str] = field(default_factory=dict)
    """Of the controller."""
    board_environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """What comes before each agent's command: another network, say."""
    host: str = "127.0.0.1"
    sources: list[Source] = field(default_factory=list)
    versions: dict[str, Source] = field(default_factory=dict)
    _released: int = 0
    _client: Client | None = None

    # --- processes ---

    def up(self, *arguments: str) -> None:
        port = "0"
        if self.kubeconfig.exists():
            port = self.kubeconfig.read_text().split("server: https://")[1].split()[0].rsplit(":", 1)[1].strip("'\"")
        command = [sys.executable, "-m", "tests.ready_made", "--data-dir", str(self.data), "--port", port]
        log = self.directory / f"controller-{time.monotonic_ns()}.log"
        self.controller = self._start([*command, "--host", self.host, *arguments], log, self.environment)
        wait_for_line(self.controller, "litefleet is ready", 60, "the controller")

    def _start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip
        return Child(process, log)

    def board(self, name: str, *, rate_hz: int = 20) -> None:
        """Enroll a board and start it."""
        state = self.directory / "boards" / name
        state.mkdir(parents=True)
        inputs = self.directory / "inputs"
        if not inputs.exists():
            inputs.mkdir()
            for n in range(_INPUTS):
                np.save(inputs / f"{n}.npy", np.eye(4, dtype=np.float32)[n])
        (state / "agent.toml").write_text(
            f"[telemetry]\nwindow_seconds = 1\n\n[pipelines.{SLOT}]\n"
            f'source = {{kind = "directory", path = "{inputs}", rate_hz = {rate_hz}, loop = true}}\n'
            f'sink = {{kind = "file", path = "{state / "answers.jsonl"}"}}\n'
        )
        token = self.request(lambda c: c.post(f"{FLEET}/devicetokens", {"ttlSeconds": 600}))["token"]
        command = agent_command("enroll", "--token", token, "--name", name, "--class", CLASS, "--state-dir", str(state))
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | self.board_environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.run_agent(name)

    def run_agent(self, name: str, *, serving: bool = True) -> None:
        """Start a board's agent; without `serving` it only sends what is left to send."""
        state = self.directory / "boards" / name
        config = ["--config", str(state / "agent.toml")] if serving else []
        command = [*self.prefix, *agent_command("run", "--state-dir", str(state), *config)]
        self.boards[name] = self._start(command, state / "agent.log", self.board_environment)

    def broker(self) -> psutil.Process | None:
        """The mosquitto that runs now."""
        assert self.controller is not None
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.controller.process.pid).children(recursive=True):
                if child.name() == "mosquitto" and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    @property
    def broker_port(self) -> int:
        return int((self.data / "broker" / "port").read_text())

    def broker_answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.broker_port), 1).close()
        except OSError:
            return False
        return True

    def request(self, ask: Callable[[Client], Json]) -> Json:
        """One client for all that is asked: a fresh one costs more than what the controller answers."""
        if self._client is None:
            self._client = Client(load(self.kubeconfig, None))
        return ask(self._client)

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__()
        super().close()

    # --- what it serves ---

    def stock(self, seeds: Sequence[int], *, padding_bytes: int) -> None:
        """Put models on the controller's disk, before it starts."""
        folder = self.directory / "sources"
        folder.mkdir()
        blobs = DirectoryBlobs(self.data / "blobs")
        for seed in seeds:
            path = folder / f"{seed}.tflite"
            model(path, seed, padding_bytes)
            loaded = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
            inputs = np.eye(4, dtype=np.float32)
            answers = {f"{n}.npy": tuple(map(float, loaded.infer([inputs[n : n + 1]])[0][0])) for n in range(_INPUTS)}
            packed = npz(
                model=np.frombuffer(path.read_bytes(), np.uint8), golden=np.frombuffer(golden_for(path), np.uint8)
            )
            digest = asyncio.run(blobs.put(packed))
            self.sources.append(Source(f"blob://{digest}", sha(path.read_bytes()), answers))

    def declare(self, steps: Sequence[Json], *, probation_s: float = 1.0) -> str:
        """A class, a model and a rollout to every board; the first version."""
        self.create("deviceclasses", "DeviceClass", CLASS, {"variants": ["float32"]})
        self.create("modelrollouts", "ModelRollout", SLOT, {
            "modelRef": {"name": SLOT}, "strategy": {"canary": {"steps": list(steps), "maxUnavailable": "100%"}},
            "probationSeconds": probation_s,
        })  # fmt: skip
        return self.release()

    def release(self) -> str:
        """Declare the next source in turn; the version that it becomes."""
        source = self.sources[self._released % len(self.sources)]
        self._released += 1
        version = f"{SLOT}-v{self._released}"
        self.versions[version] = source
        if self._released == 1:
            spec = {
                "source": {"uri": source.uri, "format": "tflite"},
                "evaluation": {"uri": source.uri},
                "output": {"labels": ["zero", "one", "two"]},
            }
            self.create("models", "Model", SLOT, spec)
        else:
            self.change("models", SLOT, {"source": {"uri": source.uri}})
        return version

    def converged(self, version: str) -> bool:
        """Whether every board serves `version` and the controller knows, and holds the rollout for done."""
        rollout = self.status("modelrollouts", SLOT)
        if rollout.get("phase") != "Healthy" or rollout.get("targetVersion") != version:
            return False
        return all(
            s.get("currentVersion") == version and s.get("phase") == "Updated" for s in map(self.slot, self.boards)
        )

    def connections(self) -> dict[str, str]:
        """The id of each board's connection, by board; empty for one that the controller holds for offline."""
        items = self.request(lambda c: c.get(f"{KUBE}/devices"))["items"]
        status = {d["metadata"]["name"]: d.get("status") or {} for d in items}
        return {name: s["connectionId"] if s.get("connection") == "Online" else "" for name, s in status.items()}

    # --- the end ---

    def audit(self) -> Audit:
        """Stop the boards, have them send what is left, and compare everything with everything."""
        stop(list(self.boards.values()))
        for name in self.boards:
            self.run_agent(name, serving=False)
        for name in self.boards:
            outbox = self.directory / "boards" / name / "outbox"
            self.wait(f"the outbox of {name} to become empty", lambda o=outbox: not list(o.glob("*.log")), 90)
        stop(list(self.boards.values()))
        audit = Audit()
        counted = self._counted()
        for name in self.boards:
            rows = self.answers(name)
            audit.answers += len(rows)
            audit.lost += _lost(rows)
            audit.wrong += sum(self._is_wrong(row) for row in rows)
            audit.miscounted += abs(counted.get(name, (0, 0))[0] - len(rows))
            audit.believed += counted.get(name, (0, 0))[1]
        return audit

    def _counted(self) -> dict[str, tuple[int, int]]:
        with contextlib.closing(sqlite3.connect(self.data / "litefleet.db")) as database:
            rows = database.execute(
                "select device, sum(count + errors), sum(not clock_untrusted and abs(started - ?) > 86400)"
                " from telemetry_windows group by device", (time.time(),),
            )  # fmt: skip
            return {device: (int(count), int(believed)) for device, count, believed in rows}

    def _is_wrong(self, row: Json) -> bool:
        if "error" in row:
            return False  # lost, that is
        source = self.versions.get(row["version"])
        return source is None or not np.allclose(row["output"], source.answers[row["input"]], atol=1e-4)


def _lost(rows: Sequence[Json]) -> int:
    """Numbers are contiguous from 0 in each run of an agent."""
    lost, expected = 0, 0
    for row in rows:
        if row["seq"] == 0:
            expected = 0
        lost += row["seq"] - expected
        lost += "error" in row
        expected = row["seq"] + 1
    return lost


def model(path: Path, seed: int, padding_bytes: int) -> None:
    """[1, 4] -> softmax of a dense layer of 3; `seed` decides its weights and the padding that makes it large."""
    rng = np.random.default_rng(seed)
    g = Graph()
    x, y, z = g.tensor("x", [1, 4]), g.tensor("y", [1, 3]), g.tensor("z", [1, 3])
    w = g.tensor("w", [3, 4], data=rng.normal(0, 2, (3, 4)).astype(np.float32))
    b = g.tensor("b", [3], data=np.zeros(3, np.float32))
    if padding_bytes:
        g.tensor("padding", [padding_bytes // 4], data=rng.standard_normal(padding_bytes // 4).astype(np.float32))
    g.fully_connected(x, w, b, y)
    g.softmax(y, z)
    g.io([x], [z])
    g.save(str(path.resolve()))


@contextmanager
def site(directory: Path, **options: Any) -> Iterator[Site]:
    """A site whose controller isn't started yet."""
    made = Site(directory, **options)
    try:
        yield made
    finally:
        made.close()


def seconds_until(condition: Callable[[], bool], limit_s: float, what: str) -> float:
    """How long `condition` takes to become true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them don't exceed; nought of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
