"""Two wheels in an empty environment are a board: they enroll and run, without anything of the controller's."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from litefleet_controller.cli.demo.processes import start
from tests.flow import guarded
from tests.flow.fleet import FLEET, Fleet, fleet

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "fastapi", "pydantic", "sqlmodel", "sqlalchemy", "litefleet_controller")


def uv() -> str:
    """The uv that `make` found or fetched."""
    found = shutil.which("uv") or shutil.which(ROOT / ".cache" / "uv" / "bin" / "uv")
    assert found is not None, "uv is needed: `make setup` brings it"
    return found


def run(folder: Path, *command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHONPATH"))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    for package in ("protocol", "agent"):
        run(folder, uv(), "build", "--wheel", "--quiet", "--out-dir", str(folder / "wheels"), str(ROOT / package))
    run(folder, uv(), "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    wheels = [str(p) for p in (folder / "wheels").glob("*.whl")]
    assert len(wheels) == 2
    run(folder, uv(), "pip", "install", "--quiet", "--python", str(folder / "venv" / "bin" / "python"), *wheels)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        running.create("deviceclasses", "DeviceClass", "plain", {"variants": ["float32"]})
        yield running


def test_nothing_heavy_is_installed(venv: Path) -> None:
    find = f"import importlib.util as u; print([n for n in {HEAVY!r} if u.find_spec(n)])"
    assert run(venv, str(venv / "python"), "-c", find).strip() == "[]"


def test_it_enrolls_and_runs(venv: Path, controller: Fleet, tmp_path: Path) -> None:
    token = controller.request(lambda c: c.post(f"{FLEET}/devicetokens", {"ttlSeconds": 600}))["token"]
    identity = ("--name", "alone", "--class", "plain", "--state-dir", str(tmp_path / "state"))
    run(tmp_path, str(venv / "litefleet-agent"), "enroll", "--token", token, *identity)
    board = start([str(venv / "litefleet-agent"), "run", "--state-dir", str(tmp_path / "state")], tmp_path / "log")
    controller.boards["alone"] = board
    controller.wait("it to come online", lambda: controller.status("devices", "alone").get("connection") == "Online")
    controller.wait("its report", lambda: controller.status("devices", "alone").get("agentVersion"))
    assert "litert" in controller.status("devices", "alone")["runtimes"]
    assert "Online" in controller.cli("get", "device", "alone")


def test_a_board_without_its_classs_engine_says_what_to_install_and_goes_on_once_it_is_there(
    venv: Path, controller: Fleet, tmp_path: Path
) -> None:
    """Nothing is restarted: the engine is installed beside the running agent, and the rollout retried."""
    controller.cli("apply", "-f", str(ROOT / "manifests" / "classes" / "generic-x86-openvino.yaml"))
    token = controller.request(lambda c: c.post(f"{FLEET}/devicetokens", {"ttlSeconds": 600}))["token"]
    identity = ("--name", "bare", "--class", "generic-x86-openvino", "--label", "site=bare")
    agent, state = str(venv / "litefleet-agent"), ("--state-dir", str(tmp_path / "state"))
    run(tmp_path, agent, "enroll", "--token", token, *identity, *state)
    controller.boards["bare"] = start([agent, "run", *state], tmp_path / "log")
    digits = load_digits()
    x, y = digits.images.astype(np.float32), digits.target
    np.savez(tmp_path / "evaluation.npz", x=x[1200:], y=y[1200:])
    guarded.write(tmp_path / "digits.tflite", x[:1200] / 16, y[:1200])
    spec = {
        "source": {"uri": controller.push(tmp_path / "digits.tflite"), "format": "tflite"},
        "input": {"preprocess": {"channels": 1, "scale": 1 / 16}},
        "output": {"labels": list("0123456789")},
        "evaluation": {"uri": controller.push(tmp_path / "evaluation.npz")},
    }
    controller.create("models", "Model", "digits", spec)
    where = {"modelRef": {"name": "digits"}, "selector": {"matchLabels": {"site": "bare"}}, "probationSeconds": 1}
    controller.create("modelrollouts", "ModelRollout", "digits", where)
    controller.wait("the rollout", lambda: controller.status("modelrollouts", "digits").get("phase") == "Degraded")
    said = controller.cli("describe", "modelrollout", "digits")
    assert "RuntimeMissing" in said
    assert "pip install 'litefleet-agent[openvino]'" in said
    assert " fetched " not in (tmp_path / "log").read_text(), "nothing was fetched for it"

    installed = f"openvino=={importlib.metadata.version('openvino')}"  # as in the lock: no other is downloaded
    run(tmp_path, uv(), "pip", "install", "--quiet", "--python", str(venv / "python"), installed)
    controller.cli("rollout", "retry", "digits")
    controller.wait("digits-v1", lambda: controller.slot("bare").get("currentVersion") == "digits-v1")
    controller.wait("the rollout", lambda: controller.status("modelrollouts", "digits").get("phase") == "Healthy")
