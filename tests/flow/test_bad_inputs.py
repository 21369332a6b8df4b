"""Bad inputs at the real doors of one running `litefleet up`: the API, the command line, enrollment, the broker.

Each gets one clear error with its stable code and changes nothing; in the end the controller's log holds no fault of
its own. What a converter's or a board's child process makes of a bad model stands with their tests.
"""

import asyncio
import io
import json
import pickle
import ssl
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import paho.mqtt.client as mqtt
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties

from litefleet_controller.cli.demo.processes import agent_command, controller_command
from litefleet_controller.cli.kubeconfig import load
from litefleet_controller.identity.roles import Role
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.registry import KINDS
from litefleet_controller.store.database import Database
from litefleet_protocol import codec, topics
from litefleet_protocol.enrollment import EnrollResponse, decode_token
from litefleet_protocol.histogram import Histogram
from litefleet_protocol.messages import Capabilities, Need, Reported, TelemetryWindow
from litefleet_protocol.topics import Up
from tests.flow.fleet import Fleet, fleet

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]
API_VERSION = "litefleet.dev/v1alpha1"
JSON, YAML, MERGE = "application/json", "application/yaml", "application/merge-patch+json"
NOWHERE = f"blob://sha256:{'0' * 64}"
PLURALS = {kind.kind: kind.plural for kind in KINDS}
LADDER: Json = {"variants": ["float32"]}


@dataclass
class Door:
    """The running controller as a client meets it."""

    fleet: Fleet
    http: httpx.Client

    def kube(self, plural: str, name: str = "", namespace: str = "default") -> str:
        return f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")

    def post(self, plural: str, body: Json | bytes | str, type_: str = JSON, **params: str) -> httpx.Response:
        content = json.dumps(body) if isinstance(body, dict) else body
        return self.http.post(self.kube(plural), content=content, headers={"Content-Type": type_}, params=params)

    def make(self, kind: str, name: str, spec: Json, *, namespace: str = "default", **metadata: Any) -> None:
        plural = PLURALS[kind]
        body = manifest(kind, name, spec, **metadata)
        self.http.post(self.kube(plural, namespace=namespace), json=body).raise_for_status()

    def namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.http.post("/api/v1/namespaces", json=body).raise_for_status()

    def condition(self, plural: str, name: str, type_: str, namespace: str = "default") -> Json:
        status = self.http.get(self.kube(plural, name, namespace)).json().get("status") or {}
        return next((c for c in status.get("conditions", []) if c["type"] == type_), {})

    def wait_for(self, plural: str, name: str, type_: str, status: str, namespace: str = "default") -> Json:
        self.fleet.wait(
            f"{type_}={status} of {name}",
            lambda: self.condition(plural, name, type_, namespace).get("status") == status,
            30,
        )
        return self.condition(plural, name, type_, namespace)

    def names(self) -> set[str]:
        """Everything that a client could have made."""
        found = {p: self.http.get(f"/apis/{API_VERSION}/{p}").json()["items"] for p in PLURALS.values()}
        return {f"{p}/{o['metadata']['namespace']}/{o['metadata']['name']}" for p, some in found.items() for o in some}

    def token(self, **wish: Any) -> httpx.Response:
        return self.http.post("/fleet/v1/namespaces/default/devicetokens", json=wish)

    def secret(self, **wish: Any) -> str:
        return decode_token(self.token(**wish).raise_for_status().json()["token"]).secret

    def enroll(self, **changes: Any) -> httpx.Response:
        """What a board sends. It has no token of a person."""
        device = changes.get("device", "board")
        body = {
            "secret": "x",
            "device": device,
            "deviceClass": "known",
            "csr": request(device),
            "labels": {},
            **changes,
        }
        return self.anonymous("POST", "/fleet/v1/enroll", json=body)

    def anonymous(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        target = load(self.fleet.kubeconfig, None)
        with httpx.Client(base_url=target.server, verify=target.tls(), trust_env=False, timeout=30) as client:
            return client.request(method, path, **kwargs)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [*controller_command(*arguments), "--kubeconfig", str(self.fleet.kubeconfig)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def log(self) -> str:
        return "".join(p.read_text() for p in self.fleet.directory.glob("controller-*.log"))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with fleet(tmp_path_factory.mktemp("bad-inputs")) as running:
        target = load(running.kubeconfig, None)
        headers = {"Authorization": f"Bearer {target.token}"}
        with httpx.Client(
            base_url=target.server, verify=target.tls(), headers=headers, trust_env=False, timeout=30
        ) as client:
            made = Door(running, client)
            made.make("DeviceClass", "known", LADDER)
            yield made


@pytest.fixture
def unchanged(door: Door) -> Iterator[None]:
    """Whatever the test sends, nothing of it is stored."""
    before = door.names()
    yield
    assert door.names() == before


def manifest(kind: str, name: str, spec: Json, **metadata: Any) -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def rollout(name: str = "bad", **spec: Any) -> Json:
    return manifest("ModelRollout", name, {"modelRef": {"name": "digits"}, **spec})


def steps(*given: Json) -> Json:
    return rollout(strategy={"canary": {"steps": list(given)}})


def model(**source: Any) -> Json:
    return {"source": {"uri": NOWHERE, **source}, "evaluation": {"uri": NOWHERE}}


def assert_refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> Json:
    """One Status object that names the code and the place; the cause."""
    body = answer.json()
    assert (answer.status_code, body["kind"], body["status"], body["code"]) == (status, "Status", "Failure", status), (
        body
    )
    causes = body["details"]["causes"]
    assert [c["code"] for c in causes] == [code], body
    assert field is None or causes[0].get("field") == field, body
    assert body["reason"]
    assert body["message"]
    assert "Traceback" not in answer.text
    assert "Input should" not in answer.text
    return dict(causes[0])


# --- manifests over HTTP -------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)
MEGABYTES = 11 * 1024 * 1024


@pytest.mark.parametrize(
    ("type_", "body", "status", "code"),
    [
        (JSON, "", 400, "EmptyDocument"),
        (YAML, "# nothing\n", 400, "EmptyDocument"),
        (JSON, "[]", 400, "TypeError"),
        (YAML, "- a\n- b\n", 400, "TypeError"),
        (JSON, "7", 400, "TypeError"),
        (YAML, "hello", 400, "TypeError"),
        (YAML, BOMB, 400, "YamlAliasLimit"),
        (JSON, '{"a":' * 10_000 + "1" + "}" * 10_000, 400, "TooDeep"),
        (YAML, "[" * 10_000, 400, "TooDeep"),
        (YAML, "a: !!python/object:os.system {}", 400, "YamlTagForbidden"),
        (YAML, "kind: a\nkind: b\n", 400, "DuplicateKey"),
        (JSON, '{"spec": {"steps": [{"setWeight": NaN}]}}', 400, "OutOfRange"),
        (YAML, "spec: {setWeight: .nan}", 400, "OutOfRange"),
        (JSON, "{", 400, "JsonSyntax"),
        (YAML, "a: [", 400, "YamlSyntax"),
        (JSON, b'{"a": "\xff"}', 400, "NotUtf8"),
        (JSON, '{"a": "\\ud800"}', 400, "NotUtf8"),
        (JSON, '{"a":"' + "x" * MEGABYTES + '"}', 413, "TooLarge"),
        (YAML, "a: " + "x" * MEGABYTES, 413, "TooLarge"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
@pytest.mark.usefixtures("unchanged")
def test_a_body_that_cannot_be_read_is_refused(
    door: Door, type_: str, body: str | bytes, status: int, code: str
) -> None:
    began = time.monotonic()
    assert_refused(door.post("modelrollouts", body, type_), status, code)
    assert time.monotonic() - began < 5


WEIGHT = "spec.strategy.canary.steps[0].setWeight"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (steps({"setWeight": 101}), "OutOfRange", WEIGHT),
        (steps({"setWeight": -1}), "OutOfRange", WEIGHT),
        (steps({"setWeight": "NaN"}), "TypeError", WEIGHT),
        (steps({"setWeight": "no"}), "TypeError", WEIGHT),
        (steps({"setWeight": 50}, {"setWeight": 5}), "OutOfRange", "spec.strategy.canary.steps"),
        (rollout(successThreshold="200%"), "OutOfRange", "spec.successThreshold"),
        (rollout("../x"), "InvalidName", "metadata.name"),
        (rollout("a" * 254), "InvalidName", "metadata.name"),
        (rollout("d\u0456gits"), "InvalidName", "metadata.name"),
        (rollout(selector={"matchLabels": {"a b": "c"}}), "InvalidName", "spec.selector.matchLabels.a b"),
        ({**rollout(), "kind": "Deployment"}, "NotFound", "kind"),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_bad_field_is_named(door: Door, body: Json, code: str, field: str) -> None:
    answer = door.post("modelrollouts", body)
    assert_refused(answer, 422, code, field)
    assert len(answer.json()["message"]) < 800


@pytest.mark.usefixtures("unchanged")
def test_an_unknown_field_is_refused_with_the_nearest_known_one(door: Door) -> None:
    answer = door.post("modelrollouts", rollout(stratgy={}), fieldValidation="Strict")
    assert '"strategy"' in assert_refused(answer, 400, "UnknownField", "spec.stratgy")["message"]


@pytest.mark.usefixtures("unchanged")
def test_a_key_that_stands_twice_in_json_is_refused(door: Door) -> None:
    text = json.dumps(rollout()).replace('"modelRef"', '"modelRef": {"name": "other"}, "modelRef"')
    assert_refused(door.post("modelrollouts", text, fieldValidation="Strict"), 400, "DuplicateKey", "spec.modelRef")


@pytest.mark.usefixtures("unchanged")
def test_an_unknown_version_is_answered_with_the_one_that_is_served(door: Door) -> None:
    answer = door.post("modelrollouts", {**rollout(), "apiVersion": "litefleet.dev/v9"})
    assert API_VERSION in assert_refused(answer, 400, "NotFound", "apiVersion")["message"]


def test_a_stale_version_is_a_conflict_and_changes_nothing(door: Door) -> None:
    door.make("DeviceClass", "stale", LADDER)
    path = door.kube("deviceclasses", "stale")
    old = door.http.get(path).json()
    change = {"spec": {"variants": ["float16"]}}
    door.http.patch(path, json=change, headers={"Content-Type": MERGE}).raise_for_status()
    change = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"variants": ["int8"]}}
    for answer in (
        door.http.put(path, json={**old, "spec": {"variants": ["int8"]}}),
        door.http.patch(path, json=change, headers={"Content-Type": MERGE}),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert door.http.get(path).json()["spec"]["variants"] == ["float16"]


def test_an_immutable_field_stays(door: Door) -> None:
    door.namespace("immutable")
    door.make("ModelVersion", "digits-v1", {**model(), "modelRef": "digits", "version": 1}, namespace="immutable")
    path = door.kube("modelversions", "digits-v1", "immutable")
    answer = door.http.patch(path, json={"spec": {"version": 2}}, headers={"Content-Type": MERGE})
    assert_refused(answer, 422, "Immutable", "spec.version")
    assert door.http.get(path).json()["spec"]["version"] == 1


# --- manifests on the command line ---------------------------------------------------------------------------------


def text(*documents: Json) -> str:
    return yaml.safe_dump_all(documents)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (BOMB, "YamlAliasLimit"),
        ("[" * 10_000, "TooDeep"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "TooDeep"),
        ("a: " + "x" * MEGABYTES, "TooLarge"),
        (text(manifest("DeviceClass", "bad", LADDER, annotations={"a": "x" * 4_000_000})), "TooLarge"),
        (text(steps({"setWeight": float("nan")})), "OutOfRange"),
        (json.dumps(steps({"setWeight": float("inf")})), "OutOfRange"),
        (text(steps({"setWeight": 50}, {"setWeight": 5})), "OutOfRange"),
        (text(rollout(stratgy={})), "UnknownField"),
        ('{"a": "\\ud800"}', "NotUtf8"),
        (text(manifest("DeviceClass", "known", LADDER, resourceVersion="1", labels={"a": "b"})), "Conflict"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
@pytest.mark.usefixtures("unchanged")
def test_a_file_that_cannot_be_applied_is_one_line(door: Door, tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    done = door.cli("apply", "-f", str(path))
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith(f"error: {path}"), done.stderr
    assert f"({code})" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("unchanged")
def test_of_two_documents_the_good_one_is_not_applied_when_the_other_is_bad(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(text(manifest("DeviceClass", "good", LADDER), steps({"setWeight": 101})))
    done = door.cli("apply", "-f", str(path))
    assert done.returncode == 1
    assert "document 2" in done.stderr
    assert (
        f"{WEIGHT}: Invalid value: 101: {WEIGHT} in body should be less than or equal to 100 (OutOfRange)"
        in done.stderr
    )


# --- what a rollout waits for --------------------------------------------------------------------------------------


def test_a_selector_that_matches_nothing_is_a_condition_until_a_board_appears(door: Door) -> None:
    door.namespace("empty")
    selector = {"matchLabels": {"site": "empty"}}
    door.make("ModelRollout", "lonely", {"modelRef": {"name": "m"}, "selector": selector}, namespace="empty")
    assert door.wait_for("modelrollouts", "lonely", "NoDevices", "True", "empty")["reason"] == "NoDevices"
    door.make("Device", "first-of-empty", {"class": "known"}, namespace="empty", labels={"site": "empty"})
    door.wait_for("modelrollouts", "lonely", "NoDevices", "False", "empty")


def test_of_two_rollouts_of_one_slot_the_younger_names_the_older_which_goes_on(door: Door) -> None:
    door.namespace("contested")
    door.make("Device", "contested-board", {"class": "known"}, namespace="contested")
    for name in ("older", "younger"):
        door.make("ModelRollout", name, {"modelRef": {"name": "m"}}, namespace="contested")
    found = door.wait_for("modelrollouts", "younger", "Conflict", "True", "contested")
    assert (found["reason"], found["message"]) == ("Claimed", "1 boards are claimed by older")
    door.wait_for("modelrollouts", "older", "Conflict", "False", "contested")
    door.http.delete(door.kube("modelrollouts", "older", "contested")).raise_for_status()
    door.wait_for("modelrollouts", "younger", "Conflict", "False", "contested")


MISSING = {
    "ModelAvailable": ("Model", "ModelVersion", "m-v1", {**model(), "modelRef": "m", "version": 1}),
    "ClassesAvailable": ("DeviceClass", "DeviceClass", "later", LADDER),
    "TemplatesAvailable": (
        "AnalysisTemplate",
        "AnalysisTemplate",
        "healthy",
        {"metrics": [{"name": "errors", "metric": "errorRate", "maxIncrease": 0.1}]},
    ),
}


@pytest.mark.parametrize("type_", MISSING)
def test_what_does_not_exist_is_a_condition_until_it_appears(door: Door, type_: str) -> None:
    missing, kind, name, spec = MISSING[type_]
    namespace = f"no-{missing.lower()}"
    door.namespace(namespace)
    if type_ == "ClassesAvailable":
        door.make("Device", "early-board", {"class": name}, namespace=namespace)
    analysis = {"templates": [{"templateName": "healthy"}]} if type_ == "TemplatesAvailable" else None
    canary = {"steps": [{"setWeight": 5}, *([{"analysis": analysis}] if analysis else [])]}
    door.make("ModelRollout", "r", {"modelRef": {"name": "m"}, "strategy": {"canary": canary}}, namespace=namespace)
    found = door.wait_for("modelrollouts", "r", type_, "False", namespace)
    assert found["reason"] == "NotFound"
    assert missing in found["message"]
    assert (name if type_ != "ModelAvailable" else "'m'") in found["message"]
    door.make(kind, name, spec, namespace=namespace)
    door.wait_for("modelrollouts", "r", type_, "True", namespace)


def test_a_version_that_does_not_exist_is_a_condition(door: Door) -> None:
    door.make("ModelRollout", "seventh", {"modelRef": {"name": "m", "version": 7}})
    found = door.wait_for("modelrollouts", "seventh", "ModelAvailable", "False")
    assert (found["reason"], "version 7 of Model 'm'" in found["message"]) == ("NotFound", True)


# --- models and data sets ------------------------------------------------------------------------------------------


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return file.getvalue()


def arrays(**given: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **given)
    return file.getvalue()


GOOD = arrays(x=np.ones((2, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("name", "data", "code", "hint"),
    [
        ("m.keras", b"", "Empty", ""),
        ("m.keras", b"TFL3" + bytes(100), "FormatMismatch", "no .keras file"),
        ("m.keras", GOOD, "FormatMismatch", "model.save"),
        ("d.npz", GOOD[: len(GOOD) // 2], "FormatMismatch", "save or copy the file again"),
        ("m.txt", b"hello", "FormatMismatch", ".keras, .zip, .tflite, .npz, .tar"),
        ("m.onnx", b"\x08\x08", "FormatUnsupported", "onnx2tf"),
        ("pets.tar.gz", b"\x1f\x8b" + bytes(100), "FormatMismatch", "cut off or damaged"),
        ("m.tflite", b"", "Empty", ""),
        ("m.tflite", b"TFL3" + bytes(100), "FormatMismatch", "no .tflite file"),
        ("m.zip", GOOD, "FormatMismatch", "litefleet model push FOLDER"),
        ("m.zip", archive(**{"saved_model.pb": b"", "../evil": b"x"}), "ArchiveUnsafe", "outside its folder"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "FormatForbidden", "litefleet model import-h5"),
        ("m.keras", b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden", "litefleet model import-h5"),
        ("m.keras", pickle.dumps({"weights": 1}), "FormatForbidden", "runs code"),
        ("d.npz", arrays(x=np.array([{}], dtype=object)), "FormatForbidden", "runs code"),
        ("m.keras", archive(**{"../evil": b"x"}), "ArchiveUnsafe", "outside its folder"),
    ],
)
def test_a_file_that_is_no_model_is_refused_at_the_door(
    door: Door, name: str, data: bytes, code: str, hint: str
) -> None:
    blobs = door.fleet.data / "blobs"
    before = {p for p in blobs.rglob("*") if p.is_file()}
    answer = door.http.post("/fleet/v1/namespaces/default/blobs", params={"name": name}, content=data)
    assert hint in assert_refused(answer, 400, code)["message"]
    assert {p for p in blobs.rglob("*") if p.is_file()} == before
    assert list((door.fleet.data / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("gs://bucket/m.keras", "InvalidUri"),
        ("s3://bucket/../m.keras", "InvalidUri"),
        ("file:///srv/../etc/passwd", "InvalidUri"),
        ("http://models.test/m.keras\r\nHost: other", "InvalidUri"),
        ("https://me:hunter2@models.test/m.keras", "CredentialsInManifest"),
        ("https://b.s3.amazonaws.com/m?X-Amz-Signature=hunter2", "CredentialsInManifest"),
        ("blob://sha256:" + "Z" * 64, "InvalidUri"),
        ("blob://sha256:../../etc", "InvalidUri"),
        ("m.keras", "InvalidUri"),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_source_that_cannot_be_fetched_is_refused(door: Door, uri: str, code: str) -> None:
    answer = door.post("models", manifest("Model", "bad", model(uri=uri)))
    assert "hunter2" not in assert_refused(answer, 422, code, "spec.source.uri")["message"]


@pytest.mark.parametrize(
    ("name", "uri", "code", "option"),
    [
        ("web", "https://models.test/m.keras", "HostNotAllowed", "--source-host models.test"),
        ("cloud", "http://169.254.169.254/latest/meta-data/", "HostNotAllowed", "--source-host 169.254.169.254"),
        ("bucket", "s3://bucket/m.keras", "BucketNotAllowed", "--source-bucket bucket"),
        ("disk", "file:///etc/passwd", "FileNotAllowed", "--source-dir /etc"),
    ],
)
def test_a_source_from_where_nothing_is_allowed_is_a_condition_with_the_way_in(
    door: Door, name: str, uri: str, code: str, option: str
) -> None:
    door.make("Model", name, model(uri=uri))
    door.fleet.wait(code, lambda: door.condition("models", name, "Ready").get("reason") == code, 30)
    condition = door.condition("models", name, "Ready")
    assert option in condition["message"]


def test_a_source_that_was_not_pushed_or_is_another_file_is_a_condition(door: Door) -> None:
    door.make("Model", "absent", model())
    assert door.wait_for("models", "absent", "Ready", "False")["reason"] == "NotFound"
    door.make("Model", "other", model(digest=f"sha256:{'1' * 64}"))
    assert door.wait_for("models", "other", "Ready", "False")["reason"] == "DigestMismatch"


# --- enrollment ----------------------------------------------------------------------------------------------------


def request(name: str, key: Any = None, *, ca: bool = False) -> str:
    """A CSR in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"csr": request("another")}, 422, "BadCsr", "csr"),
        ({"csr": request("board", rsa.generate_private_key(65537, 2048))}, 422, "BadCsr", "csr"),
        ({"csr": request("board", ec.generate_private_key(ec.SECP521R1()))}, 422, "BadCsr", "csr"),
        ({"csr": request("board", ca=True)}, 422, "BadCsr", "csr"),
        ({"csr": "garbage"}, 422, "BadCsr", "csr"),
        ({"csr": "x" * 20_000}, 422, "BadCsr", "csr"),
        ({"device": "../x"}, 422, "InvalidName", "device"),
        ({"device": "controller-1"}, 422, "InvalidName", "device"),
        ({"labels": {"a b": "c"}}, 422, "InvalidName", "labels.a b"),
        ({"deviceClass": "nope"}, 404, "NotFound", "deviceClass"),
        ({"labels": "x"}, 422, "BadMessage", None),
        ({"csr": "x" * 100_000}, 413, "TooLarge", None),
    ],
    ids=lambda value: str(value)[:24],  # the same in each process: keys are made anew in every one
)
@pytest.mark.usefixtures("unchanged")
def test_a_bad_request_of_a_board_is_refused_and_makes_no_device(
    door: Door, changes: Json, status: int, code: str, field: str | None
) -> None:
    assert_refused(door.enroll(secret=door.secret(), **changes), status, code, field)


@pytest.mark.parametrize("secret", ["", "x" * 43, "\x00", "lfa1.token-of-a-person"])
@pytest.mark.usefixtures("unchanged")
def test_a_token_that_nobody_made_is_refused(door: Door, secret: str) -> None:
    assert "litefleet device token create" in assert_refused(door.enroll(secret=secret), 401, "TokenInvalid")["message"]


@pytest.mark.usefixtures("unchanged")
def test_an_expired_token_is_refused(door: Door) -> None:
    secret = door.secret(ttlSeconds=0.05)
    time.sleep(0.1)  # the lifetime itself
    assert "expired at" in assert_refused(door.enroll(secret=secret), 401, "TokenExpired")["message"]


def test_a_token_works_once(door: Door, tmp_path: Path) -> None:
    token = door.token().json()["token"]
    assert door.enroll(secret=decode_token(token).secret, device="once").status_code == 201
    assert_refused(door.enroll(secret=decode_token(token).secret, device="twice"), 401, "TokenUsed")
    command = agent_command("enroll", "--token", token, "--name", "thrice", "--class", "known", "--state-dir")
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "TokenUsed" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_agent_says_which_classes_there_are(door: Door, tmp_path: Path) -> None:
    token = door.token().json()["token"]
    command = agent_command("enroll", "--token", token, "--name", "b", "--class", "nope", "--state-dir", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "NotFound: deviceClass: there is no DeviceClass 'nope'" in done.stderr
    assert "known" in done.stderr


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"ttlSeconds": 0}, 400, "OutOfRange"),
        ({"ttlSeconds": 1e12}, 400, "OutOfRange"),
        ({"ttlSeconds": "soon"}, 422, "BadMessage"),
        ({"url": "http://plain"}, 400, "Invalid"),
    ],
)
def test_a_wish_for_a_token_that_cannot_be_is_refused(door: Door, wish: Json, status: int, code: str) -> None:
    assert_refused(door.token(**wish), status, code)


# --- people --------------------------------------------------------------------------------------------------------


def person(door: Door, name: str, namespace: str | None, ttl_s: float | None = None) -> str:
    """A token made as `litefleet up` makes its own."""

    async def create() -> str:
        database = Database(f"sqlite+aiosqlite:///{door.fleet.data / 'litefleet.db'}")
        try:
            return await AccessTokens(database.sessions).create(name, Role.ADMIN, namespace, ttl_s, datetime.now(UTC))
        finally:
            await database.close()

    return asyncio.run(create())


def test_without_a_current_token_nothing_is_answered(door: Door) -> None:
    expired = person(door, "late", None, 0.05)
    time.sleep(0.1)  # the lifetime itself
    for header in ("", "Bearer nobody", f"Bearer {expired}", "Basic YTpi", "Bearer " + "x" * 10_000):
        for path in (door.kube("models"), "/fleet/v1/namespaces/default/telemetry?slot=m", "/apis"):
            answer = door.anonymous("GET", path, headers={"Authorization": header} if header else {})
            assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized"), header


def test_another_tenant_s_object_is_not_found(door: Door) -> None:
    door.namespace("tenant")
    headers = {"Authorization": f"Bearer {person(door, 'tenant', 'tenant')}"}
    path = door.kube("deviceclasses", "known")
    change = {"spec": {"variants": ["int8"]}}
    for answer in (
        door.anonymous("GET", path, headers=headers),
        door.anonymous("DELETE", path, headers=headers),
        door.anonymous("PATCH", path, headers={**headers, "Content-Type": MERGE}, json=change),
        door.anonymous("POST", "/fleet/v1/namespaces/default/rollouts/x/promote", headers=headers),
        door.anonymous("GET", "/fleet/v1/namespaces/default/telemetry?slot=m", headers=headers),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound"), answer.text
    assert door.http.get(path).json()["spec"]["variants"] == ["float32"]
    assert door.anonymous("GET", door.kube("models", namespace="tenant"), headers=headers).status_code == 200


# --- the broker ----------------------------------------------------------------------------------------------------


class Board:
    """A board with a certificate of its own that sends what it likes."""

    def __init__(self, door: Door, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        answer = door.enroll(secret=door.secret(), device=name, csr=request(name, key)).raise_for_status()
        self.identity = msgspec.json.decode(answer.content, type=EnrollResponse)
        self.name = name
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "chain.pem").write_text(self.identity.certificate + key.private_bytes(*form).decode())
        context = ssl.create_default_context(cadata=self.identity.ca)
        context.load_cert_chain(folder / "chain.pem")
        self._connected = threading.Event()
        self.answers: dict[int, int] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set_context(context)
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_publish = self._published
        self._client.connect(self.identity.broker_host, self.identity.broker_port)
        self._client.loop_start()
        assert self._connected.wait(10)

    def _published(self, _client: Any, _user: Any, mid: int, reason: Any, _properties: Properties | None) -> None:
        self.answers[mid] = reason.value

    def send(self, leaf: Up, payload: bytes) -> None:
        self.publish(topics.up(self.name, leaf), payload)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish; the broker's reason code."""
        sent = self._client.publish(topic, payload, qos=1)
        sent.wait_for_publish(10)
        deadline = time.monotonic() + 5
        while sent.mid not in self.answers and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.answers[sent.mid]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def board(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    made = Board(door, tmp_path_factory.mktemp("board"), "liar")
    yield made
    made.close()


def window(sequence: int, **changes: Any) -> TelemetryWindow:
    fields = {
        "boot_id": "boot", "sequence": sequence, "slot": "m", "artifact": f"sha256:{'a' * 64}", "version": "m-v1",
        "started": time.time(), "seconds": 1.0, "count": 10, "latency_ms": Histogram({0: 10}),
        "confidence": Histogram({0: 10}), "classes": {"seven": 10}, **changes,
    }  # fmt: skip
    return TelemetryWindow(**fields)


def windows(door: Door, count: int) -> list[Json]:
    """The board's stored windows, oldest first, once there are `count`."""
    path = "/fleet/v1/namespaces/default/telemetry/windows?device=liar"

    def stored() -> list[Json]:
        return list(reversed(door.http.get(path).json()["items"]))

    door.fleet.wait(f"{count} windows", lambda: len(stored()) >= count, 20)
    return stored()


def raw(sequence: int, **changes: Any) -> bytes:
    """A window with fields of types that the message hasn't."""
    fields = msgspec.msgpack.decode(codec.encode(window(sequence)))
    return msgspec.msgpack.encode({**fields, **changes})


def test_a_bad_sample_costs_itself_and_the_windows_others_count(door: Door, board: Board) -> None:
    many = {f"label-{n}": 1 for n in range(10_000)}
    for payload in (
        codec.encode(window(1, temperature_c=float("inf"))),
        raw(2, rssBytes="a lot"),
        raw(3, errors=2.0**65),
        codec.encode(window(4, classes=many)),
        codec.encode(window(5, started=0.0)),
        codec.encode(window(6, started=2_890_000_000.0)),
        codec.encode(window(7, latency_ms=Histogram({0: 10}, 0, 1e308))),
        codec.encode(window(8, latency_ms=Histogram({0: 10}, 0, 1e308))),
        codec.encode(window(9)),
    ):
        board.send(Up.TELEMETRY, payload)
    stored = windows(door, 9)
    assert [w["count"] for w in stored] == [10] * 9
    assert [w["clockUntrusted"] for w in stored] == [False] * 4 + [True, True] + [False] * 3
    assert (stored[1]["rssBytes"], stored[2]["errors"]) == (None, 0)
    (total,) = door.http.get("/fleet/v1/namespaces/default/telemetry?slot=m").json()["items"]
    assert (total["count"], total["errors"]) == (90, 0)
    assert total["latencyMs"]["mean"] < 2
    assert len(total["classShares"]) <= 4097
    for code in ("BadSample", "CardinalityLimit"):
        assert f'"code": "{code}", "device": "liar"' in door.log(), code


def report(device: str, fleet: str) -> Reported:
    capabilities = Capabilities(agent="0.1", runtimes={})
    return Reported(
        fleet=fleet, device=device, device_class="known", boot_id="b", sequence=1, epoch=0, counter=0,
        capabilities=capabilities,
    )  # fmt: skip


def test_messages_that_cannot_be_are_dropped_and_the_good_one_arrives(door: Door, board: Board) -> None:
    fleet_id = board.identity.fleet
    artifact = f"sha256:{'a' * 64}"
    for leaf, payload in (
        (Up.REPORTED, b"{"),
        (Up.REPORTED, b'{"v":"2.0"}'),
        (Up.REPORTED, b"x" * 300_000),
        (Up.REPORTED, codec.encode(report("once", fleet_id))),
        (Up.NEED, codec.encode(Need(artifact=artifact, chunks=(-7, 2**40)))),
        (Up.NEED, codec.encode(Need(artifact=artifact, chunks=(1,)))),
        (Up.TELEMETRY, b"\xc1"),
        (Up.PRESENCE, b"\x00"),
    ):
        board.send(leaf, payload)
    board.send(Up.REPORTED, codec.encode(report("liar", fleet_id)))
    door.fleet.wait("the good report", lambda: door.fleet.status("devices", "liar").get("bootId") == "b", 20)
    # One line for each code: what else is dropped in the same ten seconds is counted without one.
    for code in ("BadMessage", "UnsupportedVersion", "WrongDevice"):
        assert f'"code": "{code}", "topic": "lf/v1/d/liar/up/' in door.log(), code


@pytest.mark.parametrize("topic", ["lf/v1/epoch", "lf/v1/d/once/up/reported", "lf/v1/d/liar/down/desired", "lf/v1/a/x"])
def test_a_board_may_not_write_what_is_not_its_own(board: Board, topic: str) -> None:
    assert board.publish(topic, b"x") == 135, "not authorized"


# --- and after all of it -------------------------------------------------------------------------------------------


def test_none_of_it_was_a_fault_of_the_controller(door: Door) -> None:
    faults = [
        line
        for line in door.log().splitlines()
        if any(
            word in line
            for word in ("Traceback", "request_failed", "_crashed", '"level": "error"', '"level": "critical"')
        )
    ]
    assert faults == []
    assert door.cli("get", "deviceclass", "known").returncode == 0
