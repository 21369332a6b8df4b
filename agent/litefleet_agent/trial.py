"""The parent's side of `check`: one child, its limits, and what its death means.

A model is first tried out in a child process, and serves from there until its probation is over. Whatever it does to a
process on its golden samples or on live inputs (crash, hang, eat the memory), it does to that child alone; the agent
goes on, and has the model before it answer. Started on the builder thread; asked by whoever infers.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
from numpy.typing import NDArray

from litefleet_agent.exchange import Exchange, open_exchange, size_bytes
from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.interface import ModelError, Tensor, Write
from litefleet_agent.runtime.quantization import dequantized, quantized
from litefleet_agent.verdict import DONE, RUN, TOOK, TrialLimits, Verdict
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Signature

LEAST_PATIENCE_S = 1.0
PATIENCE_FACTOR = 100
"""An inference on trial has hung when it takes so many times as long as the slowest golden sample did."""
_MAX_REPLY_BYTES = 65536


class TrialModel:
    """Implements `LoadedModel`: the model in the child. When it dies or hangs, every inference says so from then on."""

    def __init__(self, child: "_Child", signature: Signature, patience_s: float) -> None:
        self._child = child
        self._signature = signature
        self._patience_s = patience_s
        self._exchange: Exchange = open_exchange(child.memory, signature)
        self._end: Verdict | None = None
        """Why it answers nothing any more."""
        self.handover_s = 0.0
        child.channel.settimeout(patience_s)

    @property
    def signature(self) -> Signature:
        """As the check found it."""
        return self._signature

    def rss_bytes(self) -> int | None:
        """Of the child."""
        return rss_bytes(self._child.process.pid)

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run once."""
        try:
            for view, value, spec in zip(self._exchange.inputs, inputs, self._signature.inputs, strict=True):
                view[...] = quantized(value, spec)
        except ValueError as e:
            raise ModelError(Code.BAD_SHAPE, f"an input doesn't fit: {e}") from e
        return self._run()

    def infer_in_place(self, write: Write, raw: NDArray[Any]) -> list[Tensor]:
        """Run once on what `write` puts into the input."""
        write(raw, self._exchange.inputs[0].reshape(-1))
        return self._run()

    def _run(self) -> list[Tensor]:
        if self._end is not None:
            raise _error(self._end)
        began = time.perf_counter()
        try:
            self._child.channel.send(RUN)
            reply = self._child.channel.recv(_MAX_REPLY_BYTES)
        except TimeoutError:
            late = f"no answer to a live input within {self._patience_s:.2g} s"
            raise self._ended(Verdict(str(Code.TIMEOUT), late)) from None
        except OSError:
            reply = b""
        if reply.startswith(DONE):
            self.handover_s = max(0.0, time.perf_counter() - began - TOOK.unpack(reply[len(DONE) :])[0])
            return [
                dequantized(v.copy(), s) for v, s in zip(self._exchange.outputs, self._signature.outputs, strict=True)
            ]
        if not reply:
            raise self._ended(self._child.death("it crashed on a live input with"))
        raise _error(msgspec.json.decode(reply, type=Verdict))

    def _ended(self, why: Verdict) -> ModelError:
        self._end = why
        self._child.end()
        return _error(why)


def _error(verdict: Verdict) -> ModelError:
    """A new one each time: one that is raised again and again gathers all frames that it came through."""
    return ModelError(Code(verdict.code), verdict.message)


class _Child:
    """The process, and what it shares with this one. Ends with the last reference to it."""

    def __init__(self, directory: Path, memory_bytes: int, limits: TrialLimits) -> None:
        self.limits = limits
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.memory = os.memfd_create("litefleet-tensors", os.MFD_CLOEXEC)
        self._stderr = os.fdopen(os.memfd_create("litefleet-check", os.MFD_CLOEXEC), "w+b", buffering=0)
        try:
            os.ftruncate(self.memory, memory_bytes)
            # OpenBLAS reserves address space for each of the machine's cores; the limit is meant for the model.
            self.process = subprocess.Popen(
                _command(directory, theirs.fileno(), self.memory, limits),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(theirs.fileno(), self.memory),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError:
            _close(None, self.channel, self.memory, self._stderr)
            raise
        finally:
            theirs.close()
        self.end = weakref.finalize(self, _close, self.process, self.channel, self.memory, self._stderr)

    def verdict(self) -> Verdict:
        """What the check says, or what its death or silence means."""
        self.channel.settimeout(self.limits.seconds)
        try:
            reply = self.channel.recv(_MAX_REPLY_BYTES)
        except TimeoutError:
            return Verdict(str(Code.TIMEOUT), f"no answer to its golden samples within {self.limits.seconds:g} s")
        except OSError:
            reply = b""
        if not reply:
            return self.death("it crashed the check with")
        try:
            return msgspec.json.decode(reply, type=Verdict)
        except msgspec.MsgspecError:
            return Verdict(str(Code.INTERNAL), "the check gave no verdict")

    def death(self, crashed: str) -> Verdict:
        """Why the process ended, which it has or is about to."""
        try:
            returncode = self.process.wait(LEAST_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return Verdict(str(Code.MODEL_CRASHED), "the process that ran it fell silent")
        self._stderr.seek(0)
        return _of_death(returncode, self._stderr.read().decode(errors="replace"), self.limits, crashed)


def _close(process: "subprocess.Popen[bytes] | None", channel: socket.socket, memory: int, stderr: IO[bytes]) -> None:
    if process is not None:
        process.kill()
        process.wait()
    channel.close()
    os.close(memory)
    stderr.close()


def _command(directory: Path, channel: int, memory: int, limits: TrialLimits) -> Sequence[str]:
    return (
        sys.executable,
        "-m",
        "litefleet_agent.check",
        str(directory),
        f"--channel-fd={channel}",
        f"--memory-fd={memory}",
        f"--memory-bytes={limits.memory_bytes}",
        f"--cpu-seconds={int(limits.seconds * limits.threads) + 1}",
        f"--threads={limits.threads}",
        f"--accelerator={limits.accelerator}",
    )


def try_out(directory: Path, signature: Signature, limits: TrialLimits) -> tuple[Verdict, TrialModel | None]:
    """Check the artifact in `directory` in a child; however that ends, a verdict, and after a good one the model in it.

    `signature` is what its manifest says.
    """
    try:
        tensors = size_bytes(signature)
    except (ValueError, TypeError) as e:
        return Verdict(str(Code.BAD_SHAPE), str(e)), None
    if tensors > limits.memory_bytes:
        message = f"its inputs and outputs alone take {tensors} bytes; the limit is {limits.memory_bytes}"
        return Verdict(str(Code.MEMORY_LIMIT), message), None
    try:
        child = _Child(directory, tensors, limits)
    except OSError as e:
        return Verdict(str(Code.INTERNAL), f"the check could not be started: {e}"), None
    verdict = child.verdict()
    if verdict.code or verdict.signature is None:
        child.end()
        return verdict, None
    patience_s = min(limits.hang_seconds, max(LEAST_PATIENCE_S, PATIENCE_FACTOR * verdict.slowest_s))
    return verdict, TrialModel(child, verdict.signature, patience_s)


def _of_death(returncode: int, stderr: str, limits: TrialLimits, crashed: str) -> Verdict:
    last = stderr.strip().rpartition("\n")[2][:200]
    if any(sign in stderr for sign in ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")):
        return Verdict(str(Code.MEMORY_LIMIT), f"needs more than {limits.memory_bytes} bytes")
    if returncode == -signal.SIGXCPU:
        return Verdict(str(Code.TIMEOUT), f"used up {limits.seconds:g} s of processor time")
    if returncode == -signal.SIGKILL:
        return Verdict(str(Code.MEMORY_LIMIT), "the process that ran it was killed, most likely for want of memory")
    if returncode < 0:
        return Verdict(str(Code.MODEL_CRASHED), f"{crashed} {signal.Signals(-returncode).name}")
    return Verdict(str(Code.INTERNAL), f"the check failed: {last}")
