"""What engines the board has and what they run on, found by trying: the parent's side of `probe`.

Asked by the doctor, and by the agent once it is connected (`survey`).
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from litefleet_agent.probe import Failed, Line, Loaded, Tried, Trying
from litefleet_agent.runtime.installed import ENGINES, is_installed
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import AcceleratorFound, EngineFound

TIMEOUT_S = 120.0
"""A slow board takes many seconds to load an engine; more than this is a hang."""
_MAX_TEXT = 300
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
Command = Callable[[str, Sequence[str]], Sequence[str]]


class _Said(msgspec.Struct):
    """What one child told."""

    version: str = ""
    failed: Failed | None = None
    trying: str = ""
    """What it was at when it ended; empty when it came to its own end."""
    tried: dict[str, AcceleratorFound] = {}


def command(engine: str, options: Sequence[str]) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "litefleet_agent.probe", engine, *options]


def probe(
    engine: str,
    also: Sequence[str] = (),
    *,
    leave_closed: bool = False,
    command: Command = command,
    timeout_s: float = TIMEOUT_S,
) -> EngineFound:
    """Load an engine of ENGINES in a child and try its accelerators, `also` those that it doesn't list by itself.

    One that kills the child is passed by in the next. `leave_closed`: as `Runtime.try_accelerator` has it.
    """
    if not is_installed(engine):
        return EngineFound(name=engine, code=str(Code.RUNTIME_MISSING), message=ENGINES[engine].get)
    tried: dict[str, AcceleratorFound] = {}
    while True:
        options = [*(f"--skip={name}" for name in tried), *(f"--also={name}" for name in also)]
        lines, end = _run(command(engine, [*options, *(["--leave-closed"] if leave_closed else [])]), timeout_s)
        said = _read(lines)
        tried |= said.tried
        if said.failed is not None:
            return EngineFound(name=engine, code=said.failed.code, message=said.failed.message[:_MAX_TEXT])
        if not said.version:
            return EngineFound(name=engine, code=str(Code.RUNTIME_BROKEN), message=f"{end}, loading it"[:_MAX_TEXT])
        if not said.trying:
            return EngineFound(name=engine, version=said.version, accelerators=tuple(tried.values()))
        message = f"{end}, trying {said.trying}"[:_MAX_TEXT]
        tried[said.trying] = AcceleratorFound(name=said.trying, code=str(Code.ACCELERATOR_FAILED), message=message)


def _read(lines: Iterable[Line]) -> _Said:
    said = _Said()
    for line in lines:
        match line:
            case Loaded():
                said.version = line.version[:64]
            case Failed():
                said.failed = line
            case Trying():
                said.trying = line.accelerator
            case Tried(found):
                said.tried[found.name] = msgspec.structs.replace(found, message=found.message[:_MAX_TEXT])
                said.trying = ""
    return said


def _run(command: Sequence[str], timeout_s: float) -> tuple[list[Line], str]:
    """What a child said, and how it ended."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as e:
        return list(_lines(e.stdout or b"")), f"no answer within {timeout_s:g} s"
    except OSError as e:
        return [], f"no process could be started ({e})"
    if done.returncode < 0:
        end = f"its process was killed by {signal.Signals(-done.returncode).name}"
    else:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        end = f"its process ended with {done.returncode} ({last[:200]})"
    return list(_lines(done.stdout)), end


def _lines(output: bytes) -> Iterator[Line]:
    for line in output.splitlines():
        try:
            yield _decoder.decode(line)
        except msgspec.MsgspecError:
            continue  # an engine's own words
