"""The parent's side of `check`: one child, its limits, and what its death means. Called on the builder thread."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from litefleet_agent.check import Verdict
from litefleet_protocol.codes import Code


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a check may cost."""

    seconds: float
    memory_bytes: int
    threads: int = 1


def try_out(directory: Path, limits: TrialLimits) -> Verdict:
    """Check the artifact in `directory` in a child; however that ends, a verdict."""
    command = [
        sys.executable,
        "-m",
        "litefleet_agent.check",
        str(directory),
        f"--memory-bytes={limits.memory_bytes}",
        f"--cpu-seconds={int(limits.seconds * limits.threads) + 1}",
        f"--threads={limits.threads}",
    ]
    # OpenBLAS reserves address space for each of the machine's cores; the limit is meant for the model.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=limits.seconds, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return Verdict(str(Code.TIMEOUT), f"no answer to its golden samples within {limits.seconds:g} s")
    except OSError as e:
        return Verdict(str(Code.INTERNAL), f"the check could not be started: {e}")
    if done.returncode == 0:
        try:
            return msgspec.json.decode(done.stdout[done.stdout.rfind(b'{"code"') :], type=Verdict)
        except msgspec.MsgspecError:
            return Verdict(str(Code.INTERNAL), "the check gave no verdict")
    return _of_death(done.returncode, done.stderr.decode(errors="replace"), limits)


def _of_death(returncode: int, stderr: str, limits: TrialLimits) -> Verdict:
    last = stderr.strip().rpartition("\n")[2][:200]
    if any(sign in stderr for sign in ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")):
        return Verdict(str(Code.MEMORY_LIMIT), f"needs more than {limits.memory_bytes} bytes")
    if returncode == -signal.SIGXCPU:
        return Verdict(str(Code.TIMEOUT), f"used up {limits.seconds:g} s of processor time")
    if returncode == -signal.SIGKILL:
        return Verdict(str(Code.MEMORY_LIMIT), "the check was killed, most likely for want of memory")
    if returncode < 0:
        return Verdict(str(Code.MODEL_CRASHED), f"it crashed the check with {signal.Signals(-returncode).name}")
    return Verdict(str(Code.INTERNAL), f"the check failed: {last}")
