"""The controller's hand on one worker process: start, ask, watch, end.

Everything that a model can do to a worker ends here as a ConversionError: a crash, a hang, too much memory, disk or
processes. Knows nothing of conversion itself; pool.py decides how long a worker is kept.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from litefleet_controller.convert.interface import ConversionError, WorkerFaultError
from litefleet_controller.convert.workers.limits import WorkerLimits
from litefleet_controller.convert.workers.sandbox.enter import Containment
from litefleet_controller.convert.workers.tasks import (
    CHECKING,
    LENGTH,
    MAX_FRAME_BYTES,
    Failed,
    Reply,
    Result,
    Stage,
    Task,
    frame,
    reply_decoder,
)
from litefleet_controller.convert.workers.usage import exceeded, measure, rss_bytes

log = structlog.get_logger(__name__)

_KEPT_STDERR_LINES = 40
_NOISE = ("I0000", "W0000", "INFO", "WARNING", "To enable", "Running Calibration", "warnings.warn", "Extension modules")
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""OPENBLAS_*: some processors need them for right results."""

DETERMINISTIC = {
    # oneDNN adds in an order that hangs on the processor; sets of strings have an order that hangs on the seed.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "PYTHONHASHSEED": "0",
}
"""For the same bytes from the same request."""

_OWN_FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT})
"""Signals that a process gets for what it does, not from others."""

_STARTING = "starting"


def scrubbed_environment(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """What a worker sees of the controller's environment: no secret can be in it."""
    kept = {name: environment[name] for name in _PASSED_ON if name in environment}
    return (
        kept
        | DETERMINISTIC
        | {
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "KERAS_HOME": str(scratch),
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONUNBUFFERED": "1",
        }
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A worker's folders."""

    folder: Path

    @classmethod
    def make(cls, root: Path) -> "_Place":
        place = cls(Path(tempfile.mkdtemp(prefix="worker-", dir=root)))
        place.scratch.mkdir()
        place.handed.mkdir()
        return place

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def handed(self) -> Path:
        """Not below the scratch folder: it may be read only."""
        return self.folder / "handed"

    def hand(self, file: Path) -> Path:
        here = self.handed / file.name
        try:
            here.hardlink_to(file)
        except FileExistsError:  # named by its content
            pass
        except OSError:
            shutil.copyfile(file, here)
        return here

    def take_back(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # the worker was closed meanwhile, and its folders are gone
            for file in self.handed.iterdir():
                file.unlink()


class WorkerProcess:
    """One child process with a scratch folder and one for what it is handed, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, place: "_Place", limits: WorkerLimits) -> None:
        self._process = process
        self._limits = limits
        self._stderr: deque[str] = deque(maxlen=_KEPT_STDERR_LINES)
        self._listener = asyncio.create_task(self._listen(), name=f"convert-stderr-{process.pid}")
        self._is_killed = False
        self._place = place
        self.containment: Containment | None = None
        """What holds it; None until it has said so, which it does before its first task."""
        self.tasks = 0
        self.is_well = True

    @classmethod
    async def start(cls, scratch_root: Path, limits: WorkerLimits, private: Path | None = None) -> "WorkerProcess":
        """Start a worker with its folders under `scratch_root`, the only ones that it sees of the folder `private`."""
        place = await asyncio.to_thread(_Place.make, scratch_root)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the scratch folder, which is the working directory, is no place to import from
            "-m",
            "litefleet_controller.convert.workers.worker",
            str(limits.max_data_bytes),
            str(limits.cpu_seconds),
            *([str(private), str(place.handed)] if private is not None else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=place.scratch,
            env=scrubbed_environment(os.environ, place.scratch),
            start_new_session=True,
        )
        return cls(process, place, limits)

    @property
    def scratch(self) -> Path:
        """Where it may write, and its working directory."""
        return self._place.scratch

    async def hand(self, file: Path) -> Path:
        """Let it read a file, until `take_back`; where it finds it. A link, or a copy where the disk is another.

        Raises: OSError.
        """
        return await asyncio.to_thread(self._place.hand, file)

    async def take_back(self) -> None:
        """Have it see nothing any more of what it was handed."""
        await asyncio.to_thread(self._place.take_back)

    @property
    def pid(self) -> int:
        """The process's id, which is its group's, too."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs. Asks the kernel: the event loop hears of a death a moment later."""
        if self._process.returncode is not None:
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:  # reaped already, by the event loop's watcher
            return False

    def rss_bytes(self) -> int:
        """Resident memory of the process now; 0 when it can't be read."""
        return rss_bytes(self.pid)

    async def ask(self, task: Task, on_stage: Callable[[Stage], None]) -> Result:
        """Have `task` done. After anything but a return or a final ConversionError the worker isn't well any more.

        Raises:
            ConversionError: what the worker says.
            WorkerFaultError: what became of it; not final, but for `ModelCrashed` and a `Timeout` while checking.
        """
        self.tasks += 1
        self.is_well = False
        watch = asyncio.create_task(self._watch(), name=f"convert-watch-{self.pid}")
        talk = asyncio.create_task(self._talk(task, on_stage), name=f"convert-talk-{self.pid}")
        try:
            await asyncio.wait({watch, talk}, return_when=asyncio.FIRST_COMPLETED)
            # A worker that was killed for what it took has hung up, too: the cause comes first.
            if watch.done():
                await watch
            done = await talk
        finally:
            for pending in (watch, talk):
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConversionError):
                    await pending
        if isinstance(done, Failed):
            self.is_well = done.final
            kind = ConversionError if done.final else WorkerFaultError
            raise kind(done.code, done.message, final=done.final, hint=done.hint)
        self.is_well = True
        return done

    async def close(self) -> None:
        """End the process and all that it started, and remove its scratch folder."""
        self._kill()
        await self._process.wait()
        await self._listener
        await asyncio.to_thread(shutil.rmtree, self._place.folder, ignore_errors=True)

    def _kill(self) -> None:
        # Once only: afterwards the number may belong to somebody else's processes.
        if not self._is_killed:
            self._is_killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _talk(self, task: Task, on_stage: Callable[[Stage], None]) -> Result | Failed:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the worker was started with pipes")
        stage = _STARTING
        try:
            stdin.write(frame(task))
            await stdin.drain()
            while True:
                async with asyncio.timeout(self._seconds(stage)):
                    (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
                    if length > MAX_FRAME_BYTES:
                        raise WorkerFaultError("WorkerCrashed", "the worker answers what isn't an answer", final=False)
                    reply: Reply = reply_decoder.decode(await stdout.readexactly(length))
                if isinstance(reply, Containment):
                    self._contained(reply)
                    continue
                if not isinstance(reply, Stage):
                    return reply
                stage = reply.stage
                on_stage(reply)
        except TimeoutError as e:
            message = f"the conversion worker did not get on with {stage} for {self._seconds(stage):g} s"
            raise WorkerFaultError("Timeout", message, final=stage == CHECKING) from e
        except (asyncio.IncompleteReadError, ConnectionError) as e:
            raise await self._crash(stage) from e
        except msgspec.MsgspecError as e:
            raise WorkerFaultError("WorkerCrashed", "the worker answers what isn't an answer", final=False) from e

    def _seconds(self, stage: str) -> float:
        return self._limits.check_seconds if stage == CHECKING else self._limits.stage_seconds

    def _contained(self, containment: Containment) -> None:
        # Once: what comes later was said with somebody else's model in the process.
        if self.containment is None and self.tasks == 1:
            self.containment = containment

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.watch_seconds)
            excess = exceeded(await asyncio.to_thread(measure, self.pid, self.scratch), self._limits)
            if excess is not None:
                raise WorkerFaultError(excess.code, excess.message, final=False)

    async def _crash(self, stage: str) -> WorkerFaultError:
        """What happened to a worker that hung up."""
        self._kill()  # a worker that only closed its pipe would be waited for in vain
        code = await self._process.wait()
        await self._listener
        last_words = self._last_words()
        log.warning("conversion worker ended", pid=self.pid, exit_code=code, stage=stage, stderr=list(self._stderr))
        if code == -signal.SIGXCPU:
            message = f"the conversion worker used up its {self._limits.cpu_seconds} s of CPU time while {stage}"
            return WorkerFaultError("Timeout", message, final=False)
        if "bad_alloc" in last_words or "out of memory" in last_words.lower() or "MemoryError" in last_words:
            message = f"the conversion worker ran out of memory while {stage}: {last_words}"
            return WorkerFaultError("MemoryLimit", message, final=False)
        if -code in _OWN_FAULTS and self.tasks == 1 and stage != _STARTING:
            # Nothing was in this process before: the model did it, and would do it again.
            message = f"the source crashed the process that was {stage} it ({signal.Signals(-code).name})"
            return WorkerFaultError(
                "ModelCrashed", message, final=True, hint="convert it again from where it came from"
            )
        cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        said = f", having said: {last_words}" if last_words else ""
        return WorkerFaultError("WorkerCrashed", f"the conversion worker {cause} while {stage}{said}", final=False)

    def _last_words(self) -> str:
        """The last line of stderr that is neither noise nor part of a traceback's body."""
        for line in reversed(self._stderr):
            if line and not line[0].isspace() and not line.startswith((*_NOISE, "Traceback", "File ", "  ")):
                return line[:240]
        return ""

    async def _listen(self) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        # Not by lines: a progress bar is one endless line.
        rest = ""
        while data := await stderr.read(4096):
            *lines, rest = (rest + data.decode(errors="replace")).replace("\r", "\n").split("\n")
            self._stderr.extend(line.rstrip() for line in lines if line.strip())
            rest = rest[-4096:]
        if rest.strip():
            self._stderr.append(rest.rstrip())
