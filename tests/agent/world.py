"""A board under the real `litefleet-agent run`, with a real broker over mutual TLS and as much of a controller as it needs."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import numpy as np

from litefleet_agent import identity
from litefleet_agent.fileio import Disk
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.enrollment import EnrollResponse
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import Desired, Reported, SlotDesired

from .artifacts import Key
from .authority import Authority
from .broker import MUTUAL_TLS, Broker, Client, until

DEVICE = "pi-1"


class Controller:
    """As much of a controller as an agent needs: publishes what is signed, acknowledges telemetry."""

    def __init__(self, client: Client, key: Key) -> None:
        self.client = client
        self.key = key
        self.counter = 0
        self.epoch = 1

    def assign(self, made, **options) -> None:
        self.counter += 1
        slots = (
            {}
            if made is None
            else {
                "digits": SlotDesired(
                    artifact=made.digest, version=made.manifest.version, **({"probation_seconds": 1.0} | options)
                )
            }
        )
        message = Desired(
            fleet="fleet1",
            namespace="default",
            device=DEVICE,
            device_class="rpi-4",
            epoch=self.epoch,
            counter=self.counter,
            slots=slots,
        )
        sealed = envelope.seal(PayloadType.DESIRED, codec.encode(message), [self.key])
        self.client.publish(topics.down(DEVICE, topics.Down.DESIRED), sealed)

    def publish(self, made, *, without: tuple[int, ...] = ()) -> None:
        self.client.publish(topics.manifest("default", made.digest), made.envelope)
        for n, chunk in enumerate(made.chunks):
            if n not in without:
                self.client.publish(topics.chunk("default", made.digest, n), chunk)

    def reports(self) -> list[Reported]:
        return [codec.decode(Reported, data) for data in self.client.received("/up/reported")]

    def wait_for(self, phase: str, version: str | None = None, timeout_s: float = 30.0) -> Reported:
        def found():
            reports = self.reports()
            last = reports[-1] if reports else None
            slot = last.slots.get("digits") if last else None
            fits = slot and last.counter == self.counter and slot.phase == phase
            return last if fits and version in (None, slot.current_version) else None

        return until(found, f"{phase} {version}; last: {self.reports()[-1:]}", timeout_s)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.inputs = folder / "inputs"
        self.answers_file = folder / "answers.jsonl"
        self.key = Key()
        self.authority = Authority()
        (folder / "ca.pem").write_text(self.authority.pem(self.authority.certificate))
        certificate, key = self.authority.issue("localhost")
        (folder / "server.pem").write_text(certificate)
        (folder / "server-key.pem").write_text(key)
        self.broker = Broker(folder, MUTUAL_TLS)
        self.broker.start()
        self.process: subprocess.Popen | None = None
        self.python = sys.executable
        self.environment: dict[str, str] | None = None
        """What the agent runs with; this program's own when None."""
        self._enroll()
        self._configure()
        self.controller = Controller(Client(self.broker.port, [topics.ALL_UP], self._tls(), "controller"), self.key)

    def _tls(self) -> ssl.SSLContext:
        certificate, key = self.authority.issue("controller")
        (self.folder / "controller.pem").write_text(certificate + key)
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(str(self.folder / "controller.pem"))
        return context

    def _enroll(self) -> None:
        certificate, key = self.authority.issue(DEVICE)
        staging = identity.staging_directory(self.state_dir)
        staging.mkdir(parents=True)
        (staging / "key.pem").write_text(key)
        (staging / "key.pem").chmod(0o600)
        answer = EnrollResponse(
            fleet="fleet1",
            namespace="default",
            device=DEVICE,
            device_class="rpi-4",
            certificate=certificate,
            ca=(self.folder / "ca.pem").read_text(),
            broker_host="127.0.0.1",
            broker_port=self.broker.port,
            signing_keys=(self.key.pinned,),
        )
        identity.save(Disk(), self.state_dir, answer)

    def _configure(self) -> None:
        self.inputs.mkdir()
        for n in range(4):
            value = np.zeros(4, np.float32)
            value[n % 3] = 1
            np.save(self.inputs / f"{n}.npy", value)
        (self.folder / "agent.toml").write_text(
            "[telemetry]\nwindow_seconds = 0.5\n[pipelines.digits]\n"
            'source = {kind="directory", path="inputs", rate_hz=100, loop=true}\n'
            'sink = {kind="file", path="answers.jsonl"}\n'
        )

    def start(self, more: str = "") -> None:
        config = self.folder / "agent.toml"
        config.write_text(config.read_text() + more)
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.python,
                    "-m",
                    "litefleet_agent.main",
                    "run",
                    "--state-dir",
                    str(self.state_dir),
                    "--config",
                    str(self.folder / "agent.toml"),
                ],
                stderr=log,
                env=self.environment,
            )

    def run(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "litefleet_agent.main", command, "--state-dir", str(self.state_dir), *more],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def answers(self) -> list[dict]:
        if not self.answers_file.exists():
            return []
        return [
            json.loads(line) for line in self.answers_file.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.controller.client.close()
        self.broker.kill()
