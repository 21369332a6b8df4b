"""What a person sees when the server, the kubeconfig or the network is not as it should be."""

import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from litefleet_controller.cli.kubeconfig import load
from tests.controller.cli.conftest import Controller, Shell

CONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "site"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "secret-token"}}],
}


def write(path: Path, config: object) -> Path:
    path.write_text(yaml.safe_dump(config))
    return path


def test_nobody_listening_names_the_server_and_the_kubeconfig(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening, so that connections are refused
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
        config = {**CONFIG, "clusters": [{"name": "c", "cluster": {"server": url}}]}
        error = shell.refused("get", "models", "--kubeconfig", write(shell.directory / "k", config))
    assert url in error
    assert str(shell.directory / "k") in error
    assert "(Unreachable)" in error
    assert "\n" not in error


def test_a_server_of_another_fleet_is_not_believed(shell: Shell, tmp_path: Path) -> None:
    other = Controller(_made(tmp_path / "other"))
    try:
        config = yaml.safe_load(shell.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(
            other.authority.ca_pem.encode()
        ).decode()
        error = shell.refused("get", "models", "--kubeconfig", write(tmp_path / "k", config))
    finally:
        other.stop()
    assert "(UntrustedServer)" in error
    assert "\n" not in error


def test_a_wrong_token_is_unauthorized_and_never_shown(shell: Shell) -> None:
    shell.controller.kubeconfig(shell.kubeconfig, shell.namespace, "lfa1.wrong")
    error = shell.refused("get", "models")
    assert "(Unauthorized)" in error
    assert "token in the kubeconfig" in error
    assert "lfa1.wrong" not in error


@pytest.fixture
def stranger() -> Iterator[str]:
    """A web server that is no controller."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if "models" in self.path else 502)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_is_no_controller(shell: Shell, stranger: str) -> None:
    config = {**CONFIG, "clusters": [{"name": "c", "cluster": {"server": stranger}}]}
    path = write(shell.directory / "k", config)
    assert "(NotLitefleet)" in shell.refused("get", "models", "-o", "name", "--kubeconfig", path)
    assert "502" in shell.refused("get", "devices", "--kubeconfig", path)


BROKEN = {
    "no YAML": "{",
    "a list": "[]",
    "no context": "{}",
    "a context that is not there": {**CONFIG, "current-context": "b"},
    "no cluster": {**CONFIG, "clusters": []},
    "no user": {**CONFIG, "users": None},
    "no server": {**CONFIG, "clusters": [{"name": "c", "cluster": {}}]},
    "a server of another kind": {**CONFIG, "clusters": [{"name": "c", "cluster": {"server": "ftp://x"}}]},
    "a user that is a program": {**CONFIG, "users": [{"name": "u", "user": {"exec": {"command": "x"}}}]},
    "a CA that is no base64": {
        **CONFIG,
        "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "???"}}],
    },
    "a CA that is no certificate": {
        **CONFIG,
        "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "aGVsbG8="}}],
    },
    "a file that is not there": {**CONFIG, "users": [{"name": "u", "user": {"tokenFile": "nope"}}]},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_kubeconfig_is_named(shell: Shell, case: str) -> None:
    config = BROKEN[case]
    path = shell.directory / "broken"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    error = shell.refused("get", "models", "--kubeconfig", path)
    assert str(path) in error
    assert "(BadKubeconfig)" in error
    assert "\n" not in error


def test_the_first_kubeconfig_in_the_documented_order_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "litefleet-data").mkdir()
    names = ["option", "litefleet", "listed", "litefleet-data/kubeconfig"]
    for name in names:
        write(tmp_path / name, {**CONFIG, "clusters": [{"name": "c", "cluster": {"server": f"https://{name}"}}]})
    environment = {"LITEFLEET_KUBECONFIG": "litefleet", "KUBECONFIG": "missing:listed"}
    assert load(Path("option"), None, environment).server == "https://option"
    assert load(None, None, environment).server == "https://litefleet"
    del environment["LITEFLEET_KUBECONFIG"]
    assert load(None, None, environment).server == "https://listed"
    assert load(None, None, {}).server == "https://litefleet-data/kubeconfig"


def test_the_namespace_is_the_named_one_or_the_contexts(tmp_path: Path) -> None:
    path = write(tmp_path / "k", CONFIG)
    assert load(path, None, {}).namespace == "site"
    assert load(path, "other", {}).namespace == "other"


def test_options_may_stand_before_or_after_the_command(shell: Shell) -> None:
    for arguments in (("-n", "default", "get", "models"), ("get", "models", "-n", "default")):
        assert shell(*arguments).err == "no models found in namespace default\n"


def test_no_kubeconfig_says_where_it_looked(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    shell.variables |= {"LITEFLEET_KUBECONFIG": "", "KUBECONFIG": ""}
    error = shell.refused("get", "models")
    assert "$LITEFLEET_KUBECONFIG" in error
    assert "(NoKubeconfig)" in error
    assert "nope" in shell.refused("get", "models", "--kubeconfig", "nope")


def test_secrets_do_not_show_in_a_targets_text(tmp_path: Path) -> None:
    assert "secret-token" not in repr(load(write(tmp_path / "k", CONFIG), None, {}))


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_a_file_past_the_limit_is_not_sent(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.fleet.push.MAX_BYTES", 10)
    path = shell.directory / "a.npz"
    path.write_bytes(b"PK\x03\x04" + bytes(10))
    assert "14 bytes; an upload may have 10 (TooLarge)" in shell.refused("model", "push", path)


def test_importing_the_command_line_is_cheap() -> None:
    code = "import sys, json, litefleet_controller.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(python(code))}
    assert loaded.isdisjoint(
        {"fastapi", "sqlalchemy", "sqlmodel", "tensorflow", "pydantic", "httpx", "yaml", "numpy", "paho"}
    )


def test_version_and_help_need_no_server() -> None:
    code = "import sys; from litefleet_controller.cli import main; main(sys.argv[1:])"
    for arguments, text in ((["version"], "litefleet 0."), (["--help"], "rollout"), (["rollout", "-h"], "promote")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0
        assert text in done.stdout


def test_a_closed_pipe_ends_it_quietly(shell: Shell) -> None:
    code = "from litefleet_controller.cli import main; main(['--help'])"
    command = f'{sys.executable} -c "{code}" | true'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


def _made(path: Path) -> Path:
    path.mkdir()
    return path
