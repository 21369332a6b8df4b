"""Enrollment against a real HTTPS server: the token's hash, the certificate, refusals in one line."""

import base64
import datetime as dt
import hashlib
import http.server
import ssl
import stat
import subprocess
import sys
import threading

import msgspec
import pytest
from cryptography import x509

from litefleet_agent import health, identity
from litefleet_agent.fileio import Disk
from litefleet_agent.main import main
from litefleet_protocol.enrollment import (
    CA_PATH,
    ENROLL_PATH,
    EnrollmentToken,
    EnrollRequest,
    EnrollResponse,
    SigningKey,
    encode_token,
)

from .authority import Authority


class Server:
    """As much of a controller as enrollment needs."""

    def __init__(self, folder, authority: Authority | None = None) -> None:
        self.authority = authority or Authority()
        self.requests: list[EnrollRequest] = []
        self.refusal: tuple[int, bytes] | None = None
        self.ca = self.authority.pem(self.authority.certificate)
        certificate, key = self.authority.issue("localhost")
        (folder / "server.pem").write_text(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.path == CA_PATH
                self._answer(200, server.ca.encode())

            def do_POST(self):
                assert self.path == ENROLL_PATH
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*server.enroll(msgspec.json.decode(body, type=EnrollRequest)))

            def _answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"https://127.0.0.1:{self._http.server_address[1]}"

    def enroll(self, request):
        self.requests.append(request)
        if self.refusal is not None:
            return self.refusal
        answer = EnrollResponse(
            fleet="fleet1",
            namespace="default",
            device=request.device,
            device_class=request.device_class,
            certificate=self.authority.sign_csr(request.csr),
            ca=self.ca,
            broker_host="127.0.0.1",
            broker_port=8883,
            signing_keys=(SigningKey(key_id="0" * 64, public=base64.b64encode(bytes(32)).decode()),),
        )
        return 201, msgspec.json.encode(answer)

    def token(self, **changes):
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.ca)).hexdigest()
        fields = {"url": self.url, "ca_sha256": digest, "secret": "s3cret", **changes}
        return encode_token(EnrollmentToken(**fields))

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state_dir(tmp_path):
    return tmp_path / "state"


def enroll(state_dir, token, *more, name="pi-1"):
    return main(["enroll", "--token", token, "--name", name, "--class", "rpi-4", "--state-dir", str(state_dir), *more])


def test_board_joins_and_keeps_its_identity(server, state_dir):
    assert enroll(state_dir, server.token(), "--label", "site=line-a") == 0
    (request,) = server.requests
    assert (request.secret, request.device, request.labels) == ("s3cret", "pi-1", {"site": "line-a"})
    known = identity.load(Disk(), state_dir)
    assert (known.device, known.device_class, known.broker_port) == ("pi-1", "rpi-4", 8883)
    assert stat.S_IMODE(known.key_file.stat().st_mode) == 0o600
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(known.certificate_file, known.key_file)
    assert x509.load_pem_x509_certificate(known.certificate_file.read_bytes()).subject.rfc4514_string() == "CN=pi-1"


def test_second_enrollment_is_refused_unless_forced(server, state_dir, capsys):
    assert enroll(state_dir, server.token()) == 0
    before = identity.load(Disk(), state_dir).key_file.read_bytes()
    assert enroll(state_dir, server.token(), name="pi-2") == 1
    assert "--force" in capsys.readouterr().err
    assert identity.load(Disk(), state_dir).device == "pi-1"
    assert enroll(state_dir, server.token(), "--force", name="pi-2") == 0
    after = identity.load(Disk(), state_dir)
    assert (after.device, after.key_file.read_bytes() == before) == ("pi-2", False)


def test_another_ca_than_the_token_names_is_refused_before_the_secret_is_sent(server, state_dir, capsys):
    assert enroll(state_dir, server.token(ca_sha256="0" * 64)) == 1
    assert "another CA" in capsys.readouterr().err
    assert server.requests == []


def test_server_certificate_of_another_name_is_refused(server, state_dir, capsys):
    url = server.url.replace("127.0.0.1", "127.0.0.2")
    assert enroll(state_dir, server.token(url=url)) == 1
    assert "127.0.0.2" in capsys.readouterr().err
    assert server.requests == []


def test_refusal_of_the_controller_is_one_line_with_its_code(server, state_dir, capsys):
    status = {
        "kind": "Status",
        "message": "the token was used by pi-9",
        "reason": "Forbidden",
        "details": {"causes": [{"reason": "TokenUsed", "message": "used", "field": "secret"}]},
    }
    server.refusal = (403, msgspec.json.encode(status))
    assert enroll(state_dir, server.token()) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == ["litefleet-agent: TokenUsed: secret: the token was used by pi-9"]
    assert not identity.exists(Disk(), state_dir)


def test_retry_after_a_lost_answer_uses_the_same_key(server, state_dir):
    server.refusal = (500, b"oops")
    assert enroll(state_dir, server.token()) == 1
    server.refusal = None
    assert enroll(state_dir, server.token()) == 0
    keys = [x509.load_pem_x509_csr(r.csr.encode()).public_key().public_numbers() for r in server.requests]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("token", "name", "code"),
    [("lf1.xxx", "pi-1", "TokenInvalid"), ("nonsense", "pi-1", "TokenInvalid"), (None, "Pi_1", "InvalidName")],
)
def test_bad_arguments_are_refused_before_anything_is_sent(server, state_dir, capsys, token, name, code):
    assert enroll(state_dir, token or server.token(), name=name) == 1
    assert code in capsys.readouterr().err
    assert server.requests == []


def test_token_with_a_plain_http_url_is_refused(server, state_dir, capsys):
    assert enroll(state_dir, server.token(url="http://127.0.0.1:1")) == 1
    assert "https" in capsys.readouterr().err


def test_controller_that_is_away_is_one_line(state_dir, server, capsys):
    assert enroll(state_dir, server.token(url="https://127.0.0.1:1")) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_identity_that_a_kill_left_half_moved_is_put_in_place(server, state_dir):
    assert enroll(state_dir, server.token()) == 0
    identity.identity_directory(state_dir).rename(identity.staging_directory(state_dir))
    assert identity.load(Disk(), state_dir).device == "pi-1"


def test_run_without_an_identity_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "litefleet_agent.main", "run", "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert "litefleet-agent enroll" in done.stderr


@pytest.mark.parametrize(("clock_trusted", "code"), [(False, 0), (True, 1)])
def test_board_joins_with_a_clock_that_cannot_be_right(tmp_path, state_dir, monkeypatch, clock_trusted, code):
    """To a board that stands in 1970 every certificate begins in the future; the token's hash vouches for the CA."""
    server = Server(tmp_path, Authority(begins_in=dt.timedelta(days=20_000)))
    monkeypatch.setattr(health, "clock_trusted", lambda _wall: clock_trusted)
    try:
        assert enroll(state_dir, server.token()) == code
    finally:
        server.close()
