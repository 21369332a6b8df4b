"""What a worker, and whatever it starts, can't do: each is tried for real, from within a real worker."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.limits import WorkerLimits
from litefleet_controller.convert.workers.process import WorkerProcess
from litefleet_controller.convert.workers.sandbox.enter import Containment
from litefleet_controller.convert.workers.tasks import Accelerate, Refused, Stage
from litefleet_controller.convert.workers.usage import Usage, exceeded, measure
from tests.controller.convert.hostile_compiler import ACTS, write_hostile

_MODEL = Path(__file__).parents[3] / "agent" / "data" / "int8.tflite"
_LIMITS = WorkerLimits(watch_seconds=0.02)
_ALLOWED = {"write to its scratch folder", "read what it was handed"}


def silent(_: Stage) -> None:
    """Nobody listens."""


@contextlib.asynccontextmanager
async def worker(folder: Path, limits: WorkerLimits = _LIMITS) -> AsyncIterator[WorkerProcess]:
    """A worker whose scratch folder lies where the controller's keys do, as it does in a controller."""
    data = folder / "data"
    for place in ("convert/scratch", "blobs", "identity"):
        (data / place).mkdir(parents=True)
    (data / "blobs" / "one").write_text("a blob")
    (data / "blobs" / "two").write_text("handed over")
    (data / "identity" / "key").write_text("a key")
    process = await WorkerProcess.start(data / "convert" / "scratch", limits, data)
    await process.hand(data / "blobs" / "two")
    try:
        yield process
    finally:
        await process.close()


async def attempt(process: WorkerProcess, host: Path, act: str, seconds: float = 60.0) -> str:
    """What a program that the worker starts came to."""
    folder = process.scratch / act.replace(" ", "-")
    folder.mkdir()
    program = write_hostile(host, act, os.getpid())
    task = Accelerate(folder=str(folder), model=str(_MODEL), target="edgetpu", compiler=str(program), seconds=seconds)
    done = await process.ask(task, silent)
    assert isinstance(done, Refused)
    return done.message.rpartition("ERROR: ")[2]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[None]:
    """Somebody answers on a socket of the host's."""
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        yield


async def test_nothing_gets_out_of_a_worker(tmp_path: Path, listening: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test for all acts: a worker takes a second to start."""
    monkeypatch.setenv("LITEFLEET_DATABASE_PASSWORD", "hunter2")
    (tmp_path / "kept").write_text("whole")
    came_to = {}
    async with worker(tmp_path) as process:
        for act in ACTS:
            came_to[act] = await attempt(process, tmp_path, act)
        assert process.containment == Containment(
            network="namespace", calls=True, writes=True, privileges=True, secrets=True, memory=True
        )
        assert process.containment.missing == ()
    assert {act for act, outcome in came_to.items() if outcome == "done"} == _ALLOWED
    assert came_to["dial the loopback"] == came_to["ask a local socket"] == "PermissionError"
    assert came_to["read the controller's key"] == came_to["read a blob"] == "FileNotFoundError"
    assert (tmp_path / "data" / "blobs" / "two").read_text() == "handed over"
    assert came_to["find a secret in the environment"] == "KeyError"
    assert came_to["find a secret in the parent's environment"] == "PermissionError"
    assert (tmp_path / "kept").read_text() == "whole"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("act", "limits", "code"),
    [
        ("fork", replace(_LIMITS, max_processes=12), "ProcessLimit"),
        ("eat memory", replace(_LIMITS, max_rss_bytes=400 * 2**20), "MemoryLimit"),
        ("fill the disk", replace(_LIMITS, max_scratch_bytes=32 * 2**20), "DiskLimit"),
        ("fill the disk with names", _LIMITS, "DiskLimit"),
        ("sleep", replace(_LIMITS, stage_seconds=1.5), "Timeout"),
    ],
)
async def test_what_takes_without_end_is_ended_with_all_that_it_started(
    tmp_path: Path, act: str, limits: WorkerLimits, code: str
) -> None:
    async with worker(tmp_path, limits) as process:
        with pytest.raises(ConversionError) as ended:
            await attempt(process, tmp_path, act)
        assert (ended.value.code, ended.value.final, process.is_well) == (code, False, False)
        group = process.pid
    assert not process.scratch.exists()
    deadline = time.monotonic() + 5
    while any(_group(int(p.name)) == group for p in Path("/proc").iterdir() if p.name.isdigit()):
        assert time.monotonic() < deadline, "something of the worker's still runs"
        await asyncio.sleep(0.02)


async def test_processor_time_ends_for_what_a_worker_started_too(tmp_path: Path) -> None:
    async with worker(tmp_path, replace(_LIMITS, cpu_seconds=2)) as process:
        assert "exit code -24" in await attempt(process, tmp_path, "eat processor time")


def _group(pid: int) -> int | None:
    """Of a process that isn't dead."""
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return None
    return int(group) if state != "Z" else None


@pytest.mark.parametrize(
    ("usage", "code"),
    [
        (Usage(1, 1, 1), None),
        (Usage(2**40, 1, 1), "MemoryLimit"),
        (Usage(1, 33, 1), "ProcessLimit"),
        (Usage(1, 1, 2**40), "DiskLimit"),
    ],
)
def test_a_limit_that_is_passed_is_named(usage: Usage, code: str | None) -> None:
    excess = exceeded(usage, WorkerLimits())
    assert (excess.code if excess else None) == code


def test_links_out_of_the_scratch_folder_are_not_counted_and_what_is_gone_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "large").write_bytes(bytes(2**20))
    (tmp_path / "scratch" / "link").symlink_to(tmp_path)
    assert measure(os.getpid(), tmp_path / "scratch").scratch_bytes < 2**20
    assert measure(2**22, tmp_path / "nothing") == Usage(0, 1, 0)


def test_what_a_machine_does_not_give_is_said_in_words() -> None:
    assert "no way to the network" in Containment().missing
    assert Containment(network="filter", calls=True, writes=True, secrets=True, memory=True).missing == (
        "no privileges",
    )


_WITHOUT_NAMESPACES = """
import os, socket, sys
from pathlib import Path
from litefleet_controller.convert.workers.sandbox import syscalls
from litefleet_controller.convert.workers.sandbox.enter import enter
syscalls.unshare(0x10000000)
Path("/proc/sys/user/max_user_namespaces").write_text("0")
syscalls.drop_capabilities()
print(enter(Path.cwd()).network)
try:
    socket.socket()
except PermissionError:
    print("no sockets")
"""


def test_where_the_kernel_gives_no_namespaces_sockets_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NAMESPACES], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[:2] == ["filter", "no sockets"], done.stderr
