"""model push, device token create, telemetry: the fleet API through the command line."""

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litefleet_controller.cli.client import Client
from litefleet_controller.cli.kubeconfig import load
from litefleet_controller.identity.roles import Role
from litefleet_controller.telemetry.rows import insert_windows, row_of
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import decode_token
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.messages import TelemetryWindow
from tests.controller.cli.conftest import CLASS, Shell, clock


def data_set(path: object) -> None:
    np.savez(str(path), x=np.zeros((3, 8, 8), np.uint8), y=np.arange(3))


def test_push_prints_the_uri_and_nothing_else(shell: Shell) -> None:
    path = shell.directory / "data.npz"
    data_set(path)
    result = shell("model", "push", path)
    assert (result.code, result.err) == (0, "")
    digest = result.out.strip().removeprefix("blob://")
    with Client(load(shell.kubeconfig, None)) as client:
        assert client.download(f"/fleet/v1/blobs/{digest}") == path.read_bytes()


def test_push_as_json(shell: Shell) -> None:
    path = shell.directory / "data.npz"
    data_set(path)
    answer = json.loads(shell.ok("model", "push", path, "-o", "json"))
    assert answer["size"] == path.stat().st_size
    assert answer["uri"] == f"blob://{answer['digest']}"


def test_push_takes_another_name(shell: Shell) -> None:
    path = shell.directory / "data.bin.npz"
    data_set(path)
    path = path.rename(shell.directory / "data.bin")
    assert "(FormatMismatch)" in shell.refused("model", "push", path)
    assert shell.ok("model", "push", path, "--name", "data.npz").startswith("blob://sha256:")


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty.npz", b"", "Empty"),
        ("old.h5", b"\x89HDF\r\n\x1a\n", "FormatForbidden"),
        ("model.pkl", b"\x80\x04", "FormatForbidden"),
        ("photo.jpg", b"\xff\xd8", "FormatMismatch"),
        ("cut.npz", b"PK\x03\x04" + bytes(50), "FormatMismatch"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(shell: Shell, name: str, data: bytes, code: str) -> None:
    path = shell.directory / name
    path.write_bytes(data)
    error = shell.refused("model", "push", path)
    assert f"({code})" in error
    assert "\n" not in error


def test_the_way_in_for_h5_is_named(shell: Shell) -> None:
    path = shell.directory / "old.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert "litefleet model import-h5" in shell.refused("model", "push", path)


def test_a_saved_models_folder_is_pushed_as_one_file_and_again_as_the_same(shell: Shell) -> None:
    folder = shell.directory / "digits"
    (folder / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / name).write_bytes(name.encode())
    uri = shell.ok("model", "push", folder).strip()
    with Client(load(shell.kubeconfig, None)) as client:
        data = client.download(f"/fleet/v1/blobs/{uri.removeprefix('blob://')}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("saved_model.pb") == b"saved_model.pb"
    assert shell.ok("model", "push", folder.rename(shell.directory / "other")).strip() == uri


def test_a_symbolic_link_in_a_folder_is_refused(shell: Shell) -> None:
    folder = shell.directory / "digits"
    folder.mkdir()
    (folder / "saved_model.pb").symlink_to("/etc/hostname")
    error = shell.refused("model", "push", folder)
    assert "(ArchiveUnsafe)" in error
    assert "\n" not in error


def test_a_tflite_file_is_pushed(shell: Shell) -> None:
    path = shell.directory / "digits.tflite"
    path.write_bytes(b"\x20\x00\x00\x00TFL3" + bytes(100))
    assert shell.ok("model", "push", path).startswith("blob://sha256:")


def test_another_folder_or_nothing_is_no_file(shell: Shell) -> None:
    assert "saved_model.pb" in shell.refused("model", "push", shell.directory)
    assert "(FormatMismatch)" in shell.refused("model", "push", shell.directory)
    assert "(NotFound)" in shell.refused("model", "push", shell.directory / "nope.npz")


def connect(shell: Shell, *, anonymous: bool = False) -> httpx.Client:
    """A connection without the command line's own checks before it."""
    target = load(shell.kubeconfig, None)
    headers: dict[str, str] = {} if anonymous else {"Authorization": f"Bearer {target.token}"}
    return httpx.Client(base_url=target.server, verify=target.tls(), headers=headers, trust_env=False)


def raw(shell: Shell, method: str, path: str, *, anonymous: bool = False, **kwargs: Any) -> httpx.Response:
    with connect(shell, anonymous=anonymous) as client:
        return client.request(method, path, **kwargs)


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("a.npz", b"", 400, "Empty"),
        ("a.keras", b"\x80\x04\x95", 400, "FormatForbidden"),
        ("a.npz", b"PK\x03\x04" + bytes(1_000_001), 413, "TooLarge"),
        ("a.npz", b"PK\x03\x04" + bytes(10), 400, "FormatMismatch"),
    ],
)
def test_the_server_judges_an_upload_itself(shell: Shell, name: str, data: bytes, status: int, code: str) -> None:
    answer = raw(shell, "POST", f"/fleet/v1/namespaces/{shell.namespace}/blobs", params={"name": name}, content=data)
    body = answer.json()
    assert (answer.status_code, body["kind"], body["code"]) == (status, "Status", status)
    assert [c["code"] for c in body["details"]["causes"]] == [code]


def test_a_mistyped_namespace_takes_no_upload(shell: Shell) -> None:
    path = shell.directory / "data.npz"
    data_set(path)
    assert 'namespaces "nowhere" not found' in shell.refused("model", "push", path, "-n", "nowhere")


words = st.text(max_size=12) | st.sampled_from(
    ["promote", "undo", "blobs", "telemetry", "rollouts", "windows", "ca", ".."]
)


@pytest.fixture
def connection(shell: Shell) -> Iterator[httpx.Client]:
    with connect(shell) as client:
        yield client


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    steps=st.lists(words, max_size=5),
    query=st.dictionaries(
        st.sampled_from(["slot", "since", "by", "limit", "before", "name", "class"]), words, max_size=3
    ),
    body=st.binary(max_size=40) | st.sampled_from([b"{}", b'{"toVersion": "x"}', b'{"ttlSeconds": -1}', b"null"]),
)
def test_whatever_is_sent_is_never_a_fault_of_the_server(
    shell: Shell, connection: httpx.Client, method: str, steps: list[str], query: dict[str, str], body: bytes
) -> None:
    path = "/".join(quote(step, safe="", errors="replace") for step in steps)
    for prefix in ("/fleet/v1/", f"/fleet/v1/namespaces/{shell.namespace}/"):
        answer = connection.request(method, prefix + path, params=query, content=body)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.json()["kind"] == "Status"


def test_blobs_that_are_not_there(shell: Shell) -> None:
    assert raw(shell, "GET", "/fleet/v1/blobs/sha256:" + "a" * 64).status_code == 404
    assert raw(shell, "GET", "/fleet/v1/blobs/..%2fdb.sqlite").status_code in (404, 422)
    assert raw(shell, "GET", "/fleet/v1/blobs/sha256:zz").json()["kind"] == "Status"


def test_a_token_alone_is_printed_and_leads_back_here(shell: Shell) -> None:
    result = shell("device", "token", "create", "--ttl", "10m")
    assert result.code == 0
    token = decode_token(result.out)
    assert token.url == shell.controller.url
    assert token.ca_sha256 == shell.controller.authority.ca_sha256
    assert "only boards on this machine" in result.err


def test_a_token_for_another_address(shell: Shell) -> None:
    result = shell("device", "token", "create", "--url", "https://fleet.example:7443")
    assert (decode_token(result.out).url, result.err) == ("https://fleet.example:7443", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--ttl", "soon"), 2),
        (("--ttl", "0"), 1),
        (("--ttl", "9999h"), 1),
        (("--url", "ftp://x"), 1),
        (("-n", "no-such-namespace"), 1),
    ],
)
def test_a_token_that_cannot_be(shell: Shell, arguments: tuple[str, ...], code: int) -> None:
    assert shell.refused("device", "token", "create", *arguments, code=code).startswith("error: ")


def csr(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def test_a_board_joins_with_the_token_alone(shell: Shell) -> None:
    shell.ok("apply", "-f", "-", stdin=CLASS.encode())
    secret = decode_token(shell("device", "token", "create").out).secret
    board = f"pi-{shell.namespace}"
    wish = {"secret": secret, "device": board, "deviceClass": "rpi-4", "csr": csr(board)}
    assert raw(shell, "GET", "/fleet/v1/ca", anonymous=True).text == shell.controller.authority.ca_pem
    answer = raw(shell, "POST", "/fleet/v1/enroll", anonymous=True, json=wish)
    assert answer.status_code == 201
    assert (answer.json()["namespace"], answer.json()["deviceClass"]) == (shell.namespace, "rpi-4")
    assert (board, shell.namespace) in shell.controller.granted
    assert board in shell.ok("get", "devices")

    again = raw(shell, "POST", "/fleet/v1/enroll", anonymous=True, json={**wish, "csr": csr(board)})
    assert again.status_code == 401
    assert again.json()["details"]["causes"][0]["code"] == Code.TOKEN_USED


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"secret": 1}', b"\xff", b'"x"', b"[" * 100_000])
def test_an_enrollment_that_cannot_be_read(shell: Shell, body: bytes) -> None:
    answer = raw(shell, "POST", "/fleet/v1/enroll", anonymous=True, content=body)
    assert answer.status_code in (413, 422)
    assert answer.json()["kind"] == "Status"


def test_without_a_token_of_a_person_nothing_else_is_answered(shell: Shell) -> None:
    for path in ("devicetokens", "blobs?name=a.npz", "rollouts/a/promote"):
        assert raw(shell, "POST", f"/fleet/v1/namespaces/{shell.namespace}/{path}", anonymous=True).status_code == 401


def test_another_tenant_learns_nothing(shell: Shell) -> None:
    controller = shell.controller
    token = controller.run(controller.tokens.create("mallory", Role.ADMIN, "default", None, clock()))
    controller.kubeconfig(shell.kubeconfig, shell.namespace, token)
    for command in (
        ("rollout", "status", "x"),
        ("rollout", "abort", "x"),
        ("telemetry", "x"),
        ("device", "token", "create"),
    ):
        assert "(NotFound)" in shell.refused(*command)


def store_window(shell: Shell, version: str, device_class: str, *, latency_ms: float, ago_s: float = 0.0) -> None:
    """A window of ten inferences, as one that came from a board."""
    latency, confidence = HistogramBuilder(), HistogramBuilder()
    for _ in range(10):
        latency.add(latency_ms)
        confidence.add(0.9)
    device = f"{device_class}-{uuid.uuid4().hex[:8]}"
    window = TelemetryWindow(
        boot_id=device,
        sequence=1,
        slot="digits",
        artifact="sha256:" + "0" * 64,
        version=version,
        started=0.0,
        seconds=10.0,
        count=10,
        latency_ms=latency.freeze(),
        confidence=confidence.freeze(),
        classes={"3": 8, "7": 2},
    )
    row = row_of(
        window,
        device=device,
        namespace=shell.namespace,
        device_class=device_class,
        rollout=None,
        received_at=clock() - timedelta(seconds=ago_s),
        clock_untrusted=False,
    )

    async def store() -> None:
        async with shell.controller.database.writing() as session:
            await insert_windows(session, [row])

    shell.controller.run(store())


def test_telemetry_is_a_table_by_class_and_version(shell: Shell) -> None:
    store_window(shell, "digits-v1", "rpi-4", latency_ms=5)
    store_window(shell, "digits-v1", "rpi-4", latency_ms=5)
    store_window(shell, "digits-v2", "gateway", latency_ms=2)
    header, first, second = shell.ok("telemetry", "digits").splitlines()
    assert header.split()[:4] == ["CLASS", "VERSION", "BOARDS", "INFERENCES"]
    assert first.split()[:5] == ["gateway", "digits-v2", "1", "10", "0.00%"]
    assert second.split()[:4] == ["rpi-4", "digits-v1", "2", "20"]
    assert second.endswith("3 80%, 7 20%")


def test_telemetry_can_be_joined_and_narrowed(shell: Shell) -> None:
    store_window(shell, "digits-v1", "rpi-4", latency_ms=5, ago_s=3600)
    store_window(shell, "digits-v2", "rpi-4", latency_ms=2)

    def items(*options: str) -> list[dict]:
        found: list[dict] = json.loads(shell.ok("telemetry", "digits", "-o", "json", *options))["items"]
        return found

    assert [(i["class"], i["version"], i["count"]) for i in items("--by", "class")] == [("rpi-4", None, 20)]
    assert [i["version"] for i in items("--since", "10m")] == ["digits-v2"]
    assert [i["version"] for i in items("--version", "digits-v1")] == ["digits-v1"]
    assert items("--class", "gateway") == []


def test_windows_page_through(shell: Shell) -> None:
    for _ in range(3):
        store_window(shell, "digits-v1", "rpi-4", latency_ms=5)
    path = f"/fleet/v1/namespaces/{shell.namespace}/telemetry/windows"
    first = raw(shell, "GET", path, params={"limit": "2"}).json()
    rest = raw(shell, "GET", path, params={"limit": "2", "before": str(first["next"])}).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert first["items"][0]["latencyMs"]["p50"] == pytest.approx(5, rel=0.02)


def test_no_telemetry_says_so(shell: Shell) -> None:
    result = shell("telemetry", "digits", "--since", "10m")
    assert (result.code, result.out, result.err) == (0, "", "no telemetry of 'digits' in the last 10m\n")


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--since", "soon"), 2), (("-o", "xml"), 2), (("--by", "phase"), 1), (("--by", "class,class"), 1)],
)
def test_a_question_about_telemetry_that_cannot_be(shell: Shell, options: tuple[str, ...], code: int) -> None:
    shell.refused("telemetry", "digits", *options, code=code)


@pytest.mark.parametrize(
    "query", ["since=yesterday&slot=a", "since=2026-01-01T00:00:00&slot=a", "", "slot=" + "a" * 99]
)
def test_bad_parameters_of_telemetry_are_named(shell: Shell, query: str) -> None:
    answer = raw(shell, "GET", f"/fleet/v1/namespaces/{shell.namespace}/telemetry?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"]["causes"][0]["field"] in ("since", "slot")


def test_unknown_verbs_and_bodies_are_refused(shell: Shell) -> None:
    path = f"/fleet/v1/namespaces/{shell.namespace}/rollouts/x"
    assert raw(shell, "POST", f"{path}/explode").status_code == 404
    assert raw(shell, "POST", f"{path}/undo", content=b'{"toVersio": 1}').status_code == 422
    assert raw(shell, "POST", f"{path}/promote", content=b'{"toVersion": 1}').status_code == 400
