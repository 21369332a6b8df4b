"""The demo's chapters, in the order they happen. Everything goes through the doors that a user has."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litefleet_controller.cli.client import Client
from litefleet_controller.cli.demo import manifests
from litefleet_controller.cli.demo.answers import expected_outputs, indistinguishable, judge
from litefleet_controller.cli.demo.digits import SCALE, DataSets, write_data_sets
from litefleet_controller.cli.demo.processes import (
    Child,
    agent_command,
    controller_command,
    run,
    start,
    stop,
    wait_for_line,
)
from litefleet_controller.cli.demo.progress import Teller, Waiting
from litefleet_controller.cli.demo.report import DeviceLine, RefusalLine, Report, RollbackLine
from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.kubeconfig import load

Json = dict[str, Any]

KUBE = f"/apis/litefleet.dev/v1alpha1/namespaces/{manifests.NAMESPACE}"
FLEET = f"/fleet/v1/namespaces/{manifests.NAMESPACE}"
RATE_HZ = 25
"""Images a second on each board."""
PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True)
class Release:
    """One version that the demo declares."""

    title: str
    model: str
    """Name of the training job."""
    evaluation: Path
    calibration: Path


@dataclass
class Demo:
    """A running demo: where its files are, what it started."""

    directory: Path
    teller: Teller
    port: int = 0
    controller: Child | None = None
    agents: list[Child] = field(default_factory=list)
    training: "subprocess.Popen[str] | None" = None

    def play(self) -> Report:
        """Run all chapters.

        Raises:
            CliError: something did not go as it must.
        """
        self.teller.chapter("Real handwritten digits, four models")
        data = write_data_sets(self.directory / "data")
        self._start_training(data)
        self._start_controller()
        with self._client() as client:
            self._declare_classes(client)
            self._start_boards(client, data)
            self._await_training()
            self._release(client, data)
            self.teller.chapter("Proof")
            return self._report(client, data)

    def close(self) -> None:
        """End everything that was started."""
        if self.training is not None and self.training.poll() is None:
            self.training.kill()
            self.training.wait()
        stop(self.agents)
        if self.controller is not None:
            stop([self.controller])

    def write_pids(self) -> Path:
        """Leave the ids of what runs on after this process: the agents first, so that they say goodbye to a broker."""
        path = self.directory / "pids"
        running = [*self.agents, *([self.controller] if self.controller else [])]
        path.write_text(" ".join(str(child.process.pid) for child in running) + "\n")
        return path

    @property
    def kubeconfig(self) -> Path:
        """What kubectl and litefleet talk to it with."""
        return self.directory / "controller" / "kubeconfig"

    # --- set the stage -------------------------------------------------------------------------------------------

    def _start_training(self, data: DataSets) -> None:
        def job(name: str, epochs: int, seed: int, training: Path, held_out: Path) -> Json:
            return {
                "name": name, "data": str(training), "out": str(self.directory / f"{name}.keras"), "epochs": epochs,
                "seed": seed, "scale": SCALE, "heldOut": str(held_out),
            }  # fmt: skip

        jobs = [
            job("v1", 4, 1, data.training, data.evaluation),
            job("v2", 12, 2, data.training, data.evaluation),
            job("v3", 12, 3, data.training, data.evaluation),
            job("v4", 12, 4, data.training_inverted, data.evaluation_inverted),
        ]
        path = self.directory / "jobs.json"
        path.write_text(json.dumps(jobs))
        self.training = subprocess.Popen(
            [sys.executable, "-m", "litefleet_controller.convert.training", "--jobs", str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.teller.say("training four small networks on 900 images each, in the background")

    def _start_controller(self) -> None:
        self.teller.chapter("A controller, a broker, nine boards")
        arguments = ["up", "--data-dir", str(self.directory / "controller"), "--port", str(self.port)]
        self.controller = start(controller_command(*arguments), self.directory / "controller.log")
        with self.teller.waiting("starting the controller"):
            line = wait_for_line(self.controller, "litefleet is ready at ", 60, "the controller")
        self.teller.say(f"{line.split(';')[0]}, with its own mosquitto (mutual TLS)")

    def _client(self) -> Client:
        return Client(load(self.kubeconfig, None))

    def _declare_classes(self, client: Client) -> None:
        for document in manifests.device_classes():
            client.post(f"{KUBE}/deviceclasses", document)
        client.post(f"{KUBE}/analysistemplates", manifests.analysis_template())

    def _start_boards(self, client: Client, data: DataSets) -> None:
        boards = [(f"{c}-{n}", c) for c in manifests.LADDERS for n in range(1, manifests.BOARDS_PER_CLASS + 1)]

        def enroll(board: tuple[str, str]) -> None:
            name, device_class = board
            token = client.post(f"{FLEET}/devicetokens", {"ttlSeconds": 600})["token"]
            state = self.directory / "boards" / name
            state.mkdir(parents=True)
            command = agent_command(
                "enroll", "--token", token, "--name", name, "--class", device_class, "--state-dir", str(state),
                "--label", "site=demo",
            )  # fmt: skip
            run(command, f"enrolling {name}")

        with self.teller.waiting("enrolling nine boards") as waiting, ThreadPoolExecutor(2) as pool:
            for done, _ in enumerate(pool.map(enroll, boards), 1):
                waiting.update(f"enrolling nine boards: {done}")
        for name, _ in boards:
            self._start_board(name, data.live)
        everyone = len(boards)
        self._wait("boards to come online", lambda: _online(client) == everyone, lambda: f"{_online(client)} of 9")
        self.teller.say(
            "nine boards are enrolled and online, three in each of three classes; "
            f"each reads its own camera: {RATE_HZ} held-out images a second"
        )

    def _start_board(self, name: str, live: Path) -> None:
        state = self.directory / "boards" / name
        config = state / "agent.toml"
        config.write_text(
            "[telemetry]\nwindow_seconds = 2\n\n"
            f"[pipelines.{manifests.MODEL}]\n"
            f'source = {{kind = "directory", path = "{live}", rate_hz = {RATE_HZ}, loop = true}}\n'
            f'sink = {{kind = "file", path = "{state / "answers.jsonl"}"}}\n'
        )
        command = agent_command("run", "--state-dir", str(state), "--config", str(config))
        self.agents.append(start(command, state / "agent.log"))

    def _await_training(self) -> None:
        process = self.training
        if process is None or process.stdout is None:
            raise CliError("training was not started", "DemoFailed")
        best: dict[str, float] = {}
        with self.teller.waiting("training") as waiting:
            for line in process.stdout:
                if line.startswith("{"):
                    row = json.loads(line)
                    best[row["model"]] = float(row.get("heldOut") or row["accuracy"])
                    waiting.update(f"training {row['model']}: epoch {row['epoch']} of {row['epochs']}")
        if process.wait() != 0:
            raise CliError(f"training ended with {process.returncode}", "DemoFailed")
        self.teller.say("trained: " + ", ".join(f"{n} {a:.1%}" for n, a in best.items()) + " of held-out images right"
                        " (v4 learned negatives, and its held-out images are negatives too)")  # fmt: skip

    # --- the four versions -----------------------------------------------------------------------------------------

    def _release(self, client: Client, data: DataSets) -> None:
        good, inverted = data.evaluation, data.evaluation_inverted
        releases = [
            Release("v1: converted for each class, proven, rolled out", "v1", good, data.calibration),
            Release("v2: a better model goes out in canary steps", "v2", good, data.calibration),
            Release("v3: somebody scaled the calibration images twice", "v3", good, data.calibration_scaled_twice),
            Release("v4: trained and evaluated on negatives", "v4", inverted, data.calibration_inverted),
        ]
        for number, release in enumerate(releases, 1):
            self.teller.chapter(release.title)
            self._declare(client, release, first=number == 1)
            version = f"{manifests.MODEL}-v{number}"
            self._tell_conversion(client, version)
            self._tell_rollout(client, version)

    def _declare(self, client: Client, release: Release, *, first: bool) -> None:
        uris = [
            self._push(client, path)
            for path in (self.directory / f"{release.model}.keras", release.evaluation, release.calibration)
        ]
        document = manifests.model(*uris)
        if first:
            client.post(f"{KUBE}/models", document)
            client.post(f"{KUBE}/modelrollouts", manifests.rollout())
        else:
            client.patch(f"{KUBE}/models/{manifests.MODEL}", {"spec": document["spec"]})

    def _push(self, client: Client, path: Path) -> str:
        data = path.read_bytes()
        answer = client.upload(f"{FLEET}/blobs", [data], len(data), params={"name": path.name})
        return str(answer["uri"])

    def _tell_conversion(self, client: Client, version: str) -> None:
        path = f"{KUBE}/modelversions/{version}"
        self._wait(
            f"{version} to be converted and proven",
            lambda: _phase(_maybe(client, path)) in ("Ready", "PartlyRefused", "Refused", "Failed"),
            lambda: str((_maybe(client, path).get("status") or {}).get("message", "declared")),
        )
        for entry in client.get(path)["status"]["classes"]:
            self.teller.say(f"{entry['deviceClass']}: {entry['state'].lower()}: {entry['message']}")

    def _tell_rollout(self, client: Client, version: str) -> None:
        path = f"{KUBE}/modelrollouts/{manifests.ROLLOUT}"

        def settled() -> bool:
            status = client.get(path).get("status") or {}
            decided = status.get("targetVersion") == version and status.get("phase") in ("Healthy", "Degraded")
            return decided and _at_home(client, status["classes"])

        self._wait(
            f"{version} to be rolled out",
            settled,
            lambda: str((client.get(path).get("status") or {}).get("message", "")),
        )
        status = client.get(path)["status"]
        self.teller.say(f"{status['phase']}: {status['message']}")
        for line in _verdicts((status.get("analysis") or {}).get("results", [])):
            self.teller.say(line)

    def _wait(self, what: str, done: Callable[[], bool], now: Callable[[], str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with self.teller.waiting(f"waiting for {what}") as waiting:
            while not done():
                if time.monotonic() > deadline:
                    raise CliError(f"waited {PATIENCE_S:.0f} s for {what}: {now()}", "DemoFailed")
                self._check_alive()
                _show(waiting, what, now())
                time.sleep(0.4)

    def _check_alive(self) -> None:
        for child in [c for c in (self.controller, *self.agents) if c is not None]:
            if child.process.poll() is not None:
                raise CliError(
                    f"a process ended with {child.process.returncode}; {child.log} says:\n{child.tail()}", "DemoFailed"
                )

    # --- what came of it -------------------------------------------------------------------------------------------

    def _report(self, client: Client, data: DataSets) -> Report:
        versions = client.get(f"{KUBE}/modelversions")["items"]
        variants = {
            e["variant"]["artifact"]: e["variant"] for v in versions for e in v["status"]["classes"] if e.get("variant")
        }
        with self.teller.waiting("computing every answer again"):
            # The boards' own state first, then their end: what they did until now is what is judged.
            devices = client.get(f"{KUBE}/devices")["items"]
            outputs = expected_outputs(self._download(client, variants), data.live, SCALE, self.directory)
            expected = {artifact: outputs[v["digest"]] for artifact, v in variants.items()}
            lines = [self._device_line(d, variants, expected) for d in devices]
        total = sum(d.inferences for d in lines)
        self.teller.say(
            f"{total:,} answers computed again, each held against the one version that it claims "
            f"({len(outputs)} different files, {indistinguishable(outputs)} pairs of them answer alike)"
        )
        rollout = client.get(f"{KUBE}/modelrollouts/{manifests.ROLLOUT}")
        return Report(lines, _refusals(versions), _rollbacks(rollout), self.teller.seconds)

    def _download(self, client: Client, variants: Mapping[str, Json]) -> dict[str, Path]:
        folder = self.directory / "variants"
        folder.mkdir(exist_ok=True)
        files = {}
        for digest in {v["digest"] for v in variants.values()}:
            files[digest] = folder / f"{digest.removeprefix('sha256:')[:16]}.tflite"
            files[digest].write_bytes(client.download(f"/fleet/v1/blobs/{digest}"))
        return files

    def _device_line(self, device: Json, variants: Mapping[str, Json], expected: Mapping[str, Any]) -> DeviceLine:
        name = device["metadata"]["name"]
        verdict = judge(self.directory / "boards" / name / "answers.jsonl", expected)
        slot = next(s for s in device["status"]["slots"] if s["slot"] == manifests.MODEL)
        variant = variants[slot["current"]]
        return DeviceLine(
            name=name,
            device_class=device["spec"]["class"],
            version=slot["currentVersion"],
            variant=variant["recipe"],
            bytes=variant["sizeBytes"],
            agreement=variant["agreement"],
            inferences=verdict.inferences,
            lost=verdict.lost,
            wrong=verdict.wrong,
            longest_gap_ms=verdict.longest_gap_ms,
            state=slot["phase"],
        )


def _show(waiting: Waiting, what: str, now: str) -> None:
    waiting.update(f"{what}: {now}" if now else f"waiting for {what}")


def _online(client: Client) -> int:
    devices = client.get(f"{KUBE}/devices")["items"]
    return sum((d.get("status") or {}).get("connection") == "Online" for d in devices)


def _at_home(client: Client, classes: Sequence[Json]) -> bool:
    """Whether every board serves what its class has as stable now."""
    stable = {c["deviceClass"]: c.get("stable") for c in classes}
    for device in client.get(f"{KUBE}/devices")["items"]:
        slots = (device.get("status") or {}).get("slots") or []
        slot: Json = next((s for s in slots if s["slot"] == manifests.MODEL), {})
        if slot.get("phase") != "Updated" or slot.get("currentVersion") != stable.get(device["spec"]["class"]):
            return False
    return True


def _verdicts(results: Sequence[Json]) -> list[str]:
    """What failed, in the analysis' own words; a class where nothing did in one line."""
    failed = [f"failed: {r['message']}" for r in results if r["verdict"] == "Failed"]
    if failed:
        return failed
    lines = []
    for name in dict.fromkeys(r["deviceClass"] for r in results):
        of_class = {r["metric"]: r for r in results if r["deviceClass"] == name}
        sure, mix = of_class.get("confidence", {}), of_class.get("classMix", {})
        if sure.get("canary") is None or sure.get("control") is None or mix.get("value") is None:
            continue
        lines.append(
            f"{name}: the canary holds its own: mean confidence {sure['canary']:.2f} against {sure['control']:.2f}, "
            f"class mix PSI {mix['value']:.2f} ({sure['canarySamples']} and {sure['controlSamples']} inferences)"
        )
    return lines


def _maybe(client: Client, path: str) -> Json:
    """An object that may not be there yet."""
    try:
        return client.get(path)
    except CliError as e:
        if e.http_status == 404:
            return {}
        raise


def _phase(body: Json) -> str:
    return str((body.get("status") or {}).get("phase", ""))


def _refusals(versions: Sequence[Json]) -> list[RefusalLine]:
    lines = []
    for version in versions:
        for entry in version["status"]["classes"]:
            name, device_class = version["metadata"]["name"], entry["deviceClass"]
            rungs = entry.get("refusals") or []
            ending = (
                "the class keeps what it has" if entry["state"] != "Ready" else f"it takes {entry['variant']['recipe']}"
            )
            lines += [RefusalLine(name, device_class, r["code"], f"{r['message']}; {ending}") for r in rungs]
            if entry["state"] in ("Refused", "Failed") and not rungs:
                lines.append(RefusalLine(name, device_class, entry["code"], entry["message"]))
    return lines


def _rollbacks(rollout: Json) -> list[RollbackLine]:
    history = (rollout.get("status") or {}).get("history") or []
    return [
        RollbackLine(
            rollout["metadata"]["name"], h["deviceClass"], h.get("cause", ""), f"{h['version']}: {h.get('message', '')}"
        )
        for h in history
        if h["outcome"] == "Aborted"
    ]
