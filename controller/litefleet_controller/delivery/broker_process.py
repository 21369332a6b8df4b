"""One run of mosquitto: how it starts, when it is ready, what it says, how it ends. Called by broker.py.

It must not outlive the controller, even when that is killed: PR_SET_PDEATHSIG, set by a tiny launcher which then
becomes mosquitto. A `preexec_fn` isn't safe in a process with threads, and polling the parent's pid leaves a gap. The
kernel sends SIGTERM, so that retained messages are still saved. The signal is bound to the thread that started the
launcher, which is the event loop's.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from pathlib import Path

import structlog

from litefleet_controller.delivery.broker_program import BrokerError, BrokerProgram

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 3.0
_LAUNCHER = """
import ctypes, os, resource, signal, sys
parent, library_path, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(parent):
    sys.exit("the controller ended during the start")
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # each connection is an open file
# Only now: an unpacked mosquitto's libraries are none of Python's business.
os.execve(command[0], command, {**os.environ, "LD_LIBRARY_PATH": library_path} if library_path else os.environ)
"""


class MosquittoProcess:
    """One process, with its log lines in ours."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid: int = process.pid
        self._process = process
        self._lines: deque[str] = deque(maxlen=5)
        self._running = asyncio.Event()
        self._reader = asyncio.create_task(self._read(), name="broker-log")

    @classmethod
    async def spawn(cls, program: BrokerProgram, config: Path) -> "MosquittoProcess":
        """Start `program`; not yet ready when this returns."""
        launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), program.library_path or "")
        process = await asyncio.create_subprocess_exec(
            *launcher,
            *(str(program.executable), "-c", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=config.parent,
            start_new_session=True,
        )
        return cls(process)

    async def ready(self) -> None:
        """Return when it accepts connections.

        Raises:
            BrokerError: it ended before.
        """
        running = asyncio.create_task(self._running.wait())
        try:
            await asyncio.wait({running, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            running.cancel()
        if not self._running.is_set():
            code = await self._process.wait()
            raise BrokerError(f"mosquitto ended at its start (exit code {code}): {self.last_words()}")

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that isn't enough."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            log.warning("broker.killed", pid=self.pid)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader

    def last_words(self) -> str:
        """The last lines of its log."""
        return " | ".join(self._lines) or "it said nothing"

    async def _read(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # a line beyond asyncio's limit of 64 KiB: skipped
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "replace").rstrip()
            self._lines.append(line)
            if line.startswith("mosquitto version") and line.endswith("running"):
                self._running.set()
            write = log.warning if line.startswith(("Error", "Warning")) else log.debug
            write("broker.says", line=line)
