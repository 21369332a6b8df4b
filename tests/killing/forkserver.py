"""Forks agents, and the children that they start, from one process that has everything loaded: milliseconds, not seconds.

`python -m tests.killing.forkserver SOCKET LAUNCHER`, with the shim preloaded. A request is the arguments of a Python command line
(`-m MODULE ...`), each ended by a NUL, behind the numbers of the descriptors that come with it (`0,1,2,`) and that it shall
have; an agent's begins with `--arm` and what `killing_arm` takes. The answer is its wait status. Who asked may hang up: then the process is killed.

What is real: each request runs in a process of its own, by the module's own `__main__`, with the real children's protocol,
limits and deaths. What is not: starting Python and importing libraries, which touch nothing of the agent's folder.
"""

import contextlib
import ctypes
import fcntl
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PRELOADED = (
    "cryptography.x509",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "litefleet_agent.commands",
    "litefleet_agent.compose",
    "litefleet_agent.heap",
    "litefleet_agent.vouching",
)
_MOST = 64
"""Descriptors that may come with a request."""
_AWAY = 500


def serve(path: str, launcher: str) -> None:
    """Until standard input ends, which is when whoever started this is gone. Children are started with `launcher`."""
    os.environ.pop("LD_PRELOAD", None)
    sys.executable = launcher
    for name in _PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            ready, _, _ = select.select([listener, 0], [], [])
            if 0 in ready:
                return
            asker = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                _guard(asker)
            asker.close()


def _guard(asker: socket.socket) -> None:
    """Fork what was asked for, and tell how it ended; kill it when nobody wants to know any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, given, _, _ = socket.recv_fds(asker, 65536, _MOST)
    if not message:  # killed before it could ask
        os._exit(0)
    numbers, *words = message.decode().split("\0")[:-1]
    child = os.fork()
    if child == 0:
        asker.close()
        _take(given, [int(number) for number in numbers.split(",")[:-1]])
        _become(words)
    for descriptor in (0, 1, 2, *given):
        os.close(descriptor)
    end = os.pidfd_open(child)
    if end not in select.select([end, asker], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with contextlib.suppress(OSError):
        asker.sendall(struct.pack("i", status))
    os._exit(0)


def _take(given: list[int], numbers: list[int]) -> None:
    """Give descriptors the numbers that they had where they come from, by way of numbers that nobody has."""
    away = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _AWAY) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for descriptor, number in zip(away, numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _become(words: list[str]) -> None:
    """Run the module in this process, and end as Python would."""
    code = 0
    try:
        if words[0] == "--arm":
            paths, log, op, path, nth, keep = words[1:7]
            strings = (paths.encode(), log.encode(), op.encode(), path.encode())
            ctypes.CDLL(None).killing_arm(*strings, ctypes.c_long(int(nth)), ctypes.c_long(int(keep)))
            words = words[7:]
        sys.argv = words[1:]
        sys.stdin, sys.stdout, sys.stderr = (open(n, mode, 1) for n, mode in enumerate("rww"))  # noqa: SIM115, PTH123
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # noqa: BLE001 - the process's edge, which shows and ends as Python's own does
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkServer:
    """The asker's side: a running server, and processes from it."""

    def __init__(self, folder: Path, shim: Path, launcher: Path) -> None:
        self._path = str(folder / "forkserver")
        more = {"LD_PRELOAD": str(shim), "OPENBLAS_NUM_THREADS": "1", "KILLING_SOCKET": self._path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing.forkserver", self._path, str(launcher)],
            stdin=subprocess.PIPE,
            env={**os.environ, **more},
            cwd=Path(__file__).parents[2],
        )
        while not Path(self._path).exists():
            if self._process.poll() is not None:
                raise RuntimeError("the fork server has not come up")
            select.select([], [], [], 0.02)

    def run(self, words: Sequence[str], output: int) -> "Process":
        """A process from `words`, with `output` for both of its output streams."""
        asker = socket.socket(socket.AF_UNIX)
        asker.connect(self._path)
        nothing = os.open(os.devnull, os.O_RDONLY)
        socket.send_fds(
            asker, ["".join(f"{word}\0" for word in ("0,1,2,", *words)).encode()], [nothing, output, output]
        )
        os.close(nothing)
        return Process(asker)

    def close(self) -> None:
        """Ends the server; processes end with their askers."""
        self._process.stdin.close()
        self._process.wait(10)


class Process:
    """One that the server forked."""

    def __init__(self, asker: socket.socket) -> None:
        self._asker = asker
        self._status: int | None = None

    def ended(self, timeout_s: float = 0.0) -> bool:
        """Whether it has ended, waiting so long for it."""
        if self._status is None and select.select([self._asker], [], [], timeout_s)[0]:
            answer = self._asker.recv(4)
            self._status = struct.unpack("i", answer)[0] if answer else -1
            self._asker.close()
        return self._status is not None

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if not self.ended():
            self._asker.shutdown(socket.SHUT_WR)
            assert self.ended(20), "a killed process does not end"

    @property
    def exit(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return None if self._status is None else os.waitstatus_to_exitcode(self._status)


if __name__ == "__main__":
    serve(*sys.argv[1:])
