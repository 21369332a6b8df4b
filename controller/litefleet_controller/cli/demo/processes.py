"""The demo's processes: one controller and nine agents, each a real one, started and ended by their ids."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.cli.errors import CliError

STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and where it writes what it says."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def tail(self, lines: int = 12) -> str:
        """The last lines that it wrote, for an error."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def start(arguments: Sequence[str], log: Path) -> Child:
    """Start a program; its output goes to `log`."""
    with log.open("ab") as out:
        # A session of its own: a Ctrl-C at the terminal reaches the demo alone, which then ends the rest in order.
        process = subprocess.Popen(
            arguments, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
    return Child(process, log)


def controller_command(*arguments: str) -> list[str]:
    """The command line of this very installation's `litefleet`."""
    return [sys.executable, "-m", "litefleet_controller.cli", *arguments]


def agent_command(*arguments: str) -> list[str]:
    """The command line of the agent installed beside it."""
    return [sys.executable, "-m", "litefleet_agent.main", *arguments]


def wait_for_line(child: Child, beginning: str, seconds: float, what: str) -> str:
    """Wait until `child` has written a line that begins so; that line.

    Raises:
        CliError: the child ended, or it took too long.
    """
    deadline = time.monotonic() + seconds
    while True:
        lines = child.log.read_text(errors="replace").splitlines()
        found = next((line for line in lines if line.startswith(beginning)), None)
        if found is not None:
            return found
        if child.process.poll() is not None:
            raise CliError(f"{what} ended with {child.process.returncode}:\n{child.tail()}", "DemoFailed")
        if time.monotonic() > deadline:
            raise CliError(f"{what} was not ready after {seconds:.0f} s:\n{child.tail()}", "DemoFailed")
        time.sleep(0.05)


def stop(children: Sequence[Child]) -> None:
    """End children, politely first."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def run(arguments: Sequence[str], what: str, timeout_s: float = 120.0) -> None:
    """Run a program to its end.

    Raises:
        CliError: it failed; with what it said.
    """
    done = subprocess.run(arguments, capture_output=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise CliError(f"{what} failed: {said[-1] if said else f'exit code {done.returncode}'}", "DemoFailed")
