"""The real `litefleet-agent run` against a real broker with mutual TLS: update, swap, refusal, undo, kill, goodbye."""

import base64
import datetime as dt
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from litefleet_agent import identity
from litefleet_agent.fileio import Disk
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.enrollment import EnrollResponse
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import Ack, Desired, Epoch, Presence, Reported, SlotDesired, TelemetryWindow

from .artifacts import DATA, Key, golden_for, make, make_from
from .broker import MUTUAL_TLS, Broker, Client, until

DEVICE = "pi-1"


class Authority:
    """A small CA."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        self.certificate = self._sign(self._name, self._key.public_key(), ca=True)

    def _sign(self, name, public_key, *, ca=False):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        )
        if ca:
            usage = {n: n in ("key_cert_sign", "crl_sign") for n in (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")}
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        return self.pem(self._sign(subject, key.public_key())), pem

    def sign_csr(self, pem: str) -> str:
        csr = x509.load_pem_x509_csr(pem.encode())
        assert csr.is_signature_valid
        return self.pem(self._sign(csr.subject, csr.public_key()))

    @staticmethod
    def pem(certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Controller:
    """As much of a controller as an agent needs: publishes what is signed, acknowledges telemetry."""

    def __init__(self, client: Client, key: Key) -> None:
        self.client = client
        self.key = key
        self.counter = 0

    def assign(self, made, **options) -> None:
        self.counter += 1
        slots = {} if made is None else {
            "digits": SlotDesired(
                artifact=made.digest, version=made.manifest.version, **({"probation_seconds": 1.0} | options)
            )
        }
        message = Desired(
            fleet="fleet1", namespace="default", device=DEVICE, device_class="rpi-4", epoch=1,
            counter=self.counter, slots=slots,
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
        answer = EnrollResponse(
            fleet="fleet1", namespace="default", device=DEVICE, device_class="rpi-4", certificate=certificate,
            ca=(self.folder / "ca.pem").read_text(), broker_host="127.0.0.1", broker_port=self.broker.port,
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
            '[telemetry]\nwindow_seconds = 0.5\n[pipelines.digits]\n'
            'source = {kind="directory", path="inputs", rate_hz=100, loop=true}\n'
            'sink = {kind="file", path="answers.jsonl"}\n'
        )

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "litefleet_agent.main", "run", "--state-dir", str(self.state_dir),
                 "--config", str(self.folder / "agent.toml")],
                stderr=log,
            )

    def answers(self) -> list[dict]:
        if not self.answers_file.exists():
            return []
        return [json.loads(line) for line in self.answers_file.read_text().splitlines()]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.controller.client.close()
        self.broker.kill()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()
    print((tmp_path / "agent.log").read_text()[-6000:] if (tmp_path / "agent.log").exists() else "")


def check_answers(lines, expected):
    """Every answer was given by exactly one version: its output is that version's for that input."""
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    for line in lines:
        assert "error" not in line, line
        wanted = expected[line["version"]][line["input"]]
        assert line["output"] == pytest.approx(wanted, abs=1e-5), line


def outputs_of(world, name):
    from litefleet_agent.runtime.litert import LiteRT  # noqa: PLC0415

    from .artifacts import sha  # noqa: PLC0415

    path = DATA / name
    model = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
    return {
        p.name: model.infer([np.load(p).reshape(1, 4)])[0].reshape(-1).tolist() for p in sorted(world.inputs.iterdir())
    }


def test_whole_life_of_a_board(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    v2 = make_from(world.key, "b.tflite", version="digits-v2")
    broken = make(
        world.key, (DATA / "wide-5-classes.tflite").read_bytes(), golden_for(DATA / "a.tflite"), version="digits-v3"
    )
    for made in (v1, v2, broken):
        controller.publish(made)
    controller.assign(v1)
    world.start()

    first = controller.wait_for("Updated", "digits-v1")
    assert first.capabilities.runtimes["litert"]
    until(lambda: len(world.answers()) > 50, "answers of v1")

    controller.assign(v2)
    controller.wait_for("Updated", "digits-v2")
    controller.assign(broken)
    failed = controller.wait_for("Failed", "digits-v2")
    assert failed.slots["digits"].code == "BadShape"
    before = len(world.answers())
    until(lambda: len(world.answers()) > before + 20, "it keeps serving")

    controller.assign(v1)
    controller.wait_for("Updated", "digits-v1")
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(5) == 0
    check_answers(
        world.answers(),
        {"digits-v1": outputs_of(world, "a.tflite"), "digits-v2": outputs_of(world, "b.tflite")},
    )
    offline = until(
        lambda: [m for m in map(decode_presence, controller.client.received("/up/presence")) if not m.online],
        "goodbye",
    )
    assert offline


def decode_presence(data: bytes) -> Presence:
    return codec.decode(Presence, data)
