"""A fleet of real boards with two versions of a small model that are converted already, ready to be rolled out.

`litefleet up` as a real process (with its commits counted), real agents under load. What a conversion would have left in
the data folder is put there before the start, so that no test waits for TensorFlow.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from litefleet_controller.app.persistence import persistence
from litefleet_controller.app.settings import Settings
from litefleet_controller.artifacts.manifest import Content
from litefleet_controller.cli.errors import CliError
from litefleet_controller.identity.authority import Authority
from litefleet_controller.store.interface import Key
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.agent.artifacts import DATA, FLOAT_SIGNATURE, LABELS, golden_for, sha
from tests.counting_controller import Plan
from tests.faults.audit import Audit
from tests.faults.small_disk import on_small_disk, seen_by
from tests.flow.fleet import Fleet, Json

CLASS = "pi"
MODEL = "digits"
ROLLOUT = "digits"
VERSIONS = {"digits-v1": "a.tflite", "digits-v2": "b.tflite"}
PAUSE_S = 1
STEPS: Sequence[Json] = (
    {"setWeight": 25},
    {"pause": {"duration": f"{PAUSE_S}s"}},
    {"setWeight": 50},
    {"setWeight": 100},
)
_SPEC: Json = {
    "selector": {"matchLabels": {"site": "a"}},
    "strategy": {"canary": {"steps": list(STEPS), "maxUnavailable": 2}},
    "probationSeconds": 0.5,
    "deviceTimeoutSeconds": 300,
}


def weight(step: int | None) -> int:
    """The percentage of a class that may have been commanded while the rollout stands at `step`."""
    if step is None:
        return 0
    reached = [s["setWeight"] for s in STEPS[: step + 1] if "setWeight" in s]
    return 100 if step >= len(STEPS) else reached[-1]


@dataclass
class Shipped(Fleet):
    """The fleet; `plan` says when its controller dies."""

    names: Sequence[str] = ()
    disk_mb: float | None = None
    """Size of a disk of its own for the controller's data."""
    board_disk_mb: float | None = None
    """The same for each board's state."""

    @property
    def plan(self) -> Plan:
        return Plan(self.directory / "plan")

    @property
    def audit(self) -> Audit:
        apart = self.disk_mb is not None and self.controller is not None
        pid = self.controller.process.pid if apart and self.controller else None
        return Audit(super().data / "litefleet.db", pid)

    def command(self, *arguments: str) -> list[str]:
        program, *rest = super().command(*arguments)
        module = rest.index("litefleet_controller.cli")
        command = [program, "-m", "tests.counting_controller", str(self.plan.folder), *rest[module + 1 :]]
        return command if self.disk_mb is None else on_small_disk(self.data, self.disk_mb, command)

    def board_command(self, name: str, *arguments: str) -> list[str]:
        command = super().board_command(name, *arguments)
        if self.board_disk_mb is None:
            return command
        return on_small_disk(self.directory / "boards" / name, self.board_disk_mb, command)

    def answers_file(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    @property
    def data(self) -> Path:
        here = super().data
        started = self.disk_mb is not None and self.controller is not None
        return seen_by(self.controller.process.pid, here) if started and self.controller else here

    def state_of(self, name: str) -> Path:
        """A board's state directory, wherever it lies."""
        return seen_by(self.boards[name].process.pid, self.directory / "boards" / name)

    def board(self, name: str) -> None:
        """A board that answers 20 inputs a second."""
        inputs = self.directory / "inputs"
        inputs.mkdir(exist_ok=True)
        for n in range(3):
            np.save(inputs / f"{n}.npy", np.eye(4, dtype=np.float32)[n])
        self.run_board(name, inputs)

    def roll_out(self, version: str) -> None:
        """Change the rollout to `version`, or create it."""
        spec = {**_SPEC, "modelRef": {"name": MODEL, "version": version}}
        if self.get("modelrollouts", ROLLOUT):
            self.change("modelrollouts", ROLLOUT, spec)
        else:
            self.create("modelrollouts", "ModelRollout", ROLLOUT, spec)

    def is_out(self, version: str) -> bool:
        """Whether the rollout says that it is done, and every board that it serves `version`."""
        try:
            status = self.status("modelrollouts", ROLLOUT)
            devices = self.request(lambda c: c.get("/apis/litefleet.dev/v1alpha1/namespaces/default/devices"))["items"]
        except CliError:
            return False  # no controller answers now
        slots = [s for d in devices for s in d.get("status", {}).get("slots", [])]
        serving = [s for s in slots if (s.get("currentVersion"), s.get("phase")) == (version, "Updated")]
        return (status.get("phase"), status.get("targetVersion")) == ("Healthy", version) and len(serving) == len(
            self.names
        )

    def until_out(self, version: str, seconds: float = 120.0) -> None:
        until(lambda: self.is_out(version), f"{version} on all boards", seconds)


def until(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


S = TypeVar("S", bound=Shipped)


@contextmanager
def shipped(
    directory: Path,
    names: Sequence[str],
    *,
    kind: type[S] = Shipped,
    **options: Any,
) -> Iterator[S]:
    """A running fleet of boards that serve nothing yet."""
    running = kind(directory, names=names, **options)
    running.data.mkdir(parents=True, exist_ok=True)
    asyncio.run(_ship(running.data))
    running.audit.install()
    try:
        running.up()
        for name in names:
            running.enroll(name, CLASS, "a")
            running.board(name)
        running.wait(
            "the boards", lambda: all(running.status("devices", n).get("connection") == "Online" for n in names)
        )
        yield running
    finally:
        running.close()


async def _ship(data: Path) -> None:
    """Both versions, as their conversion leaves them."""
    settings = Settings(data)
    authority = Authority.open(data / "identity")
    async with persistence(settings, authority) as keep:
        document: Json = {"apiVersion": "litefleet.dev/v1alpha1"}
        spec = {"runtime": "litert", "variants": ["float32"]}
        await keep.objects.create(
            {**document, "kind": "DeviceClass", "metadata": {"name": CLASS, "namespace": "default"}, "spec": spec}
        )
        for number, (name, file) in enumerate(VERSIONS.items(), 1):
            model = await keep.blobs.put((DATA / file).read_bytes())
            golden = await keep.blobs.put(golden_for(DATA / file))
            artifact = await keep.artifacts.publish(
                namespace="default",
                model=MODEL,
                version=name,
                device_class=CLASS,
                made=Content("float32", (("model.tflite", model),), golden, 1e-3, FLOAT_SIGNATURE),
                preprocess=Preprocess(),
                postprocess=Postprocess(labels=LABELS),
            )
            uri = {"uri": f"blob://{model}"}
            spec = {
                "source": uri,
                "evaluation": uri,
                "modelRef": MODEL,
                "version": number,
                "output": {"labels": list(LABELS)},
            }
            metadata = {"name": name, "namespace": "default"}
            await keep.objects.create({**document, "kind": "ModelVersion", "metadata": metadata, "spec": spec})
            status = _ready(artifact, sha((DATA / file).read_bytes()), (DATA / file).stat().st_size)
            key = Key("ModelVersion", "default", name)
            await keep.objects.mutate(key, lambda body, s=status: {**body, "status": s}, subresource="status")


def _ready(artifact: str, digest: str, size: int) -> Json:
    variant = {"recipe": "float32", "artifact": artifact, "digest": digest, "sizeBytes": size, "agreement": 1.0}
    entry = {"deviceClass": CLASS, "state": "Ready", "classGeneration": 1, "variant": variant}
    return {"phase": "Ready", "observedGeneration": 1, "classes": [entry]}
