"""A board with a broker and a controller of its own, whose agent lives as often as it is killed. One thread each."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import Desired, Reported, SlotDesired
from tests.agent.world import DEVICE, World
from tests.killing import trace
from tests.killing.forkserver import ForkServer
from tests.killing.image import last_report, leftovers, saved, windows
from tests.killing.judging import Oracle, Verdict, judge
from tests.killing.scenarios import INPUTS, Scenario, artifacts
from tests.killing.trace import Operation, Point

PROBATION_S = 0.3
PATIENCE_S = 40.0
"""Past it a board needs a person: three tries with their pauses take less than ten seconds."""
SLOTS = ("digits", "letters")
_DISK = ("state", "answers")
_ENOUGH = 2
"""Answers after which what serves in the end is known to serve."""


@dataclass(frozen=True)
class Life:
    """One run of an agent, from its start to a kill."""

    operations: list[Operation]
    killed: bool
    """At the point that was asked for."""
    converged: bool
    took_s: float
    verdicts: list[Verdict]
    gone: list[str]
    """Telemetry that waited when it began, and that nobody has acknowledged."""
    end: str
    """The last words of its log when it did not end as it should; else empty."""


class Board(World):
    """The world's board, with two pipelines whose answers lie beside its state."""

    def _configure(self) -> None:
        self.inputs.mkdir()
        for n, value in enumerate(INPUTS):
            np.save(self.inputs / f"{n}.npy", value)
        self.config = self.folder / "agent.toml"
        self.config.write_text(
            "[telemetry]\nwindow_seconds = 0.25\n"
            + "".join(
                f'[pipelines.{slot}]\nsource = {{kind="directory", path="inputs", rate_hz=50, loop=true}}\n'
                f'sink = {{kind="file", path="answers/{slot}.jsonl"}}\n'
                for slot in SLOTS
            )
        )
        (self.folder / "answers").mkdir()


class Lane:
    """Lives of one board, from any image of its disk on."""

    def __init__(
        self,
        folder: Path,
        server: ForkServer,
        outputs: Mapping[str, list[np.ndarray]],
        program: Sequence[str] = ("litefleet_agent.main",),
    ) -> None:
        self._program = program
        self._board = Board(folder)
        self.folder = folder
        self._server = server
        self._made = artifacts(self._board.key)
        self._oracle = Oracle(outputs, {made.digest: name for name, made in self._made.items()})
        self._bases: dict[str, Path] = {}
        """What a history left, by the history."""
        for made in self._made.values():
            self._board.controller.publish(made)
        self._fresh = self.keep(folder / "fresh")

    def close(self) -> None:
        self._board.close()

    # --- images of the disk ---

    def keep(self, image: Path) -> Path:
        """Copy the disk as it is to `image`."""
        for name in _DISK:
            shutil.copytree(self.folder / name, image / name)
        return image

    def _restore(self, image: Path) -> None:
        for name in _DISK:
            shutil.rmtree(self.folder / name)
            if (image / name).exists():
                shutil.copytree(image / name, self.folder / name)
            else:
                (self.folder / name).mkdir()

    def base(self, scenario: Scenario) -> Path:
        """The board before the scenario's desired state, and that desired state on the broker."""
        image = self._came_from(scenario)
        self._assign(scenario)
        return image

    def _came_from(self, scenario: Scenario) -> Path:
        if not scenario.history:
            return self._fresh
        key = json.dumps(scenario.history)
        if key not in self._bases:
            earlier = scenario.earlier()
            life = self.live(earlier, self.base(earlier))
            assert life.converged, life.end
            self._bases[key] = self.keep(self.folder / f"base-{len(self._bases)}")
        return self._bases[key]

    def _assign(self, scenario: Scenario) -> None:
        slots = {
            slot: SlotDesired(artifact=self._made[model].digest, version=model, probation_seconds=PROBATION_S)
            for slot, model in scenario.wanted.items()
        }
        desired = Desired(
            fleet="fleet1",
            namespace="default",
            device=DEVICE,
            device_class="rpi-4",
            epoch=1,
            counter=scenario.counter,
            slots=slots,
        )
        sealed = envelope.seal(PayloadType.DESIRED, codec.encode(desired), [self._board.key])
        self._board.controller.client.publish(topics.down(DEVICE, topics.Down.DESIRED), sealed)

    # --- lives ---

    def live(self, scenario: Scenario, image: Path, point: Point | None = None) -> Life:
        """From the disk in `image` until the agent dies at `point`, or else until it stands where it must, and is killed."""
        self._restore(image)
        before = self._answers()
        remembered = saved(self.folder).slots
        told = last_report(self.folder)
        waiting = windows(self.folder)
        log = self.folder / "trace"
        log.unlink(missing_ok=True)
        words = self.folder / "agent.log"
        with words.open("wb") as output:
            began = time.monotonic()
            run = self._command("run", "--config", str(self._board.config))
            process = self._server.run([*self._armed(log, point), *run], output.fileno())
        converged = False
        while not process.ended(0.01) and time.monotonic() - began < PATIENCE_S:
            if converged := self._stands(scenario, told, before):
                break
        took = time.monotonic() - began
        process.kill()
        operations = trace.read(log, self.folder)
        killed = bool(operations) and operations[-1].name == "killed"
        after = self._answers()
        verdicts = [
            judge(slot, before[slot], after[slot], remembered.get(slot), scenario, self._oracle) for slot in SLOTS
        ]
        gone = [f"telemetry {window} is gone" for window in waiting if window not in windows(self.folder)]
        fine = (converged or killed) and b"Traceback" not in words.read_bytes() and process.exit == -9
        end = "" if fine else f"exit {process.exit}: {words.read_text()[-2000:]}"
        if converged and (kept := leftovers(self.folder)):
            end += f"kept on the disk for ever: {sorted(kept)}"
        return Life(operations, killed, converged, took, verdicts, gone, end)

    def _armed(self, log: Path, point: Point | None) -> list[str]:
        prefixes = ":".join(str(self.folder / name) for name in _DISK)
        if point is None:
            return ["--arm", prefixes, str(log), "", "", "0", "-1"]
        return ["--arm", prefixes, str(log), point.name, str(self.folder / point.path), str(point.nth), str(point.keep)]

    def _command(self, verb: str, *more: str) -> list[str]:
        return ["-m", *self._program, verb, "--state-dir", str(self._board.state_dir), *more]

    def status(self, image: Path) -> str:
        """What is wrong with what `litefleet-agent status --json` says of a disk; empty when nothing is."""
        self._restore(image)
        said = self.folder / "status"
        with said.open("wb") as output:
            process = self._server.run(self._command("status", "--json"), output.fileno())
        assert process.ended(20), "status does not end"
        text = said.read_text()
        try:
            json.loads(text)
        except ValueError:
            return f"status --json said: {text[-1000:]}"
        return "" if process.exit == 0 else f"status --json: exit {process.exit}"

    def _stands(self, scenario: Scenario, told: Reported | None, before: Mapping[str, bytes]) -> bool:
        report = last_report(self.folder)
        if report is None or (told and report.boot_id == told.boot_id) or report.counter != scenario.counter:
            return False
        kept_slots = saved(self.folder).slots
        answers = self._answers()
        if set(report.slots) != set(scenario.after):
            return False
        for slot, model in scenario.after.items():
            digest = self._made[model].digest
            reported, kept = report.slots.get(slot), kept_slots.get(slot)
            if reported is None or (reported.phase, reported.current) != (scenario.phase(slot), digest):
                return False
            if kept is None or kept.current is None or kept.current.digest != digest:
                return False
            new = answers[slot][len(before[slot]) :].split(b"\n")[:-1]
            if len(new) < _ENOUGH or any(digest.encode() not in line for line in new[-_ENOUGH:]):
                return False
        return True

    def _answers(self) -> dict[str, bytes]:
        files = {slot: self.folder / "answers" / f"{slot}.jsonl" for slot in SLOTS}
        return {slot: path.read_bytes() if path.exists() else b"" for slot, path in files.items()}
