"""A fleet of real processes for the flow tests: `litefleet up`, agents, models that were really trained."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litefleet_controller.cli.client import Client
from litefleet_controller.cli.demo.digits import DataSets
from litefleet_controller.cli.demo.processes import (
    Child,
    agent_command,
    controller_command,
    run,
    start,
    stop,
    wait_for_line,
)
from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.kubeconfig import load

Json = dict[str, Any]
KUBE = "/apis/litefleet.dev/v1alpha1/namespaces/default"
FLEET = "/fleet/v1/namespaces/default"
PATIENCE_S = 120.0


@dataclass
class Fleet:
    """One controller and its boards."""

    directory: Path
    controller: Child | None = None
    boards: dict[str, Child] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.directory / "controller"

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"

    # --- processes -------------------------------------------------------------------------------------------------

    def up(self, *arguments: str) -> None:
        """Start the controller, on the same port as before when there was one."""
        log = self.directory / f"controller-{time.monotonic_ns()}.log"
        port = "0"
        if self.kubeconfig.exists():
            port = self.kubeconfig.read_text().split("127.0.0.1:")[1].split()[0].strip("'\"")
        command = self.command("up", "--data-dir", str(self.data), "--port", port, *arguments)
        self.controller = start(command, log)
        wait_for_line(self.controller, "litefleet is ready", 60, "the controller")

    def command(self, *arguments: str) -> list[str]:
        """The command line of the controller's program."""
        return controller_command(*arguments)

    def kill_controller(self) -> None:
        assert self.controller is not None
        self.controller.process.send_signal(signal.SIGKILL)
        self.controller.process.wait(10)

    def enroll(self, name: str, device_class: str, site: str) -> None:
        state = self.directory / "boards" / name
        state.mkdir(parents=True)
        token = self.request(lambda c: c.post(f"{FLEET}/devicetokens", {"ttlSeconds": 600}))["token"]
        identity = ["--name", name, "--class", device_class, "--label", f"site={site}"]
        run(agent_command("enroll", "--token", token, *identity, "--state-dir", str(state)), f"enrolling {name}")

    def run_board(self, name: str, images: Path | None = None, *, rate_hz: int = 20, slot: str = "digits") -> None:
        """Start a board's agent, with a camera that shows `images` when given."""
        state = self.directory / "boards" / name
        config = state / "agent.toml"
        if images is not None:
            config.write_text(
                f"[telemetry]\nwindow_seconds = 1\n\n[pipelines.{slot}]\n"
                f'source = {{kind = "directory", path = "{images}", rate_hz = {rate_hz}, loop = true}}\n'
                f'sink = {{kind = "file", path = "{self.answers_file(name)}"}}\n'
            )
        arguments = ["--config", str(config)] if config.exists() else []
        command = self.board_command(name, "run", "--state-dir", str(state), *arguments)
        self.boards[name] = start(command, self.directory / "boards" / name / "agent.log")

    def board_command(self, _name: str, *arguments: str) -> list[str]:
        """The command line of a board's program."""
        return agent_command(*arguments)

    def kill_board(self, name: str) -> None:
        self.boards[name].process.send_signal(signal.SIGKILL)
        self.boards[name].process.wait(10)

    def close(self) -> None:
        stop(list(self.boards.values()))
        if self.controller is not None:
            stop([self.controller])

    # --- the API ---------------------------------------------------------------------------------------------------

    def request(self, ask: Callable[[Client], Json]) -> Json:
        with Client(load(self.kubeconfig, None)) as client:
            return ask(client)

    def cli(self, *arguments: str) -> str:
        """Run `litefleet ...`; its output."""
        done = subprocess.run(
            [*controller_command(*arguments), "--kubeconfig", str(self.kubeconfig)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def push(self, path: Path) -> str:
        return str(json.loads(self.cli("model", "push", str(path), "-o", "json"))["uri"])

    def get(self, plural: str, name: str) -> Json:
        try:
            return self.request(lambda c: c.get(f"{KUBE}/{plural}/{name}"))
        except CliError as e:
            if e.http_status == 404:
                return {}
            raise

    def status(self, plural: str, name: str) -> Json:
        return dict(self.get(plural, name).get("status") or {})

    def slot(self, device: str, slot: str = "digits") -> Json:
        slots: Sequence[Json] = self.status("devices", device).get("slots") or []
        return next((s for s in slots if s["slot"] == slot), {})

    def create(self, plural: str, kind: str, name: str, spec: Json) -> None:
        body = {"apiVersion": "litefleet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.request(lambda c: c.post(f"{KUBE}/{plural}", body))

    def change(self, plural: str, name: str, spec: Json) -> None:
        self.request(lambda c: c.patch(f"{KUBE}/{plural}/{name}", {"spec": spec}))

    def answers_file(self, name: str) -> Path:
        """Where a board's pipeline writes its answers."""
        return self.directory / "boards" / name / "answers.jsonl"

    def answers(self, name: str) -> list[Json]:
        with contextlib.suppress(FileNotFoundError):
            return [
                json.loads(line)
                for line in self.answers_file(name).read_text().splitlines(keepends=True)
                if line.endswith("\n")
            ]
        return []

    def wait(self, what: str, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}; {self._picture()}"
            time.sleep(0.2)

    def _picture(self) -> str:
        with contextlib.suppress(CliError):
            rollouts = self.request(lambda c: c.get(f"{KUBE}/modelrollouts"))["items"]
            versions = self.request(lambda c: c.get(f"{KUBE}/modelversions"))["items"]
            devices = self.request(lambda c: c.get(f"{KUBE}/devices"))["items"]
            return json.dumps(
                {
                    "rollouts": {r["metadata"]["name"]: r.get("status", {}).get("message") for r in rollouts},
                    "versions": {v["metadata"]["name"]: v.get("status", {}).get("message") for v in versions},
                    "devices": {d["metadata"]["name"]: d.get("status", {}).get("slots") for d in devices},
                },
                indent=1,
            )
        return "the controller doesn't answer"


@contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    running = Fleet(directory)
    try:
        running.up()
        yield running
    finally:
        running.close()


def train(directory: Path, data: DataSets, names: Sequence[str]) -> dict[str, Path]:
    """Models that really learned digits: they start from different seeds, so their answers differ."""
    jobs = [
        {"name": name, "data": str(data.training), "out": str(directory / f"{name}.keras"), "epochs": 8, "seed": seed,
         "scale": 1 / 255}
        for seed, name in enumerate(names, 1)
    ]  # fmt: skip
    path = directory / "jobs.json"
    path.write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "litefleet_controller.convert.training", "--jobs", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return {name: directory / f"{name}.keras" for name in names}
