"""Running edgetpu_compiler on an int8 model, and looking at what it made. Runs in workers.

The compiler is a closed program that is given a file from somebody else: it has the worker's limits, its scratch folder
and its scrubbed environment, and ends with the worker. Its output goes to a file, since a pipe that a process it left
behind still holds would be waited for.
"""

import contextlib
import resource
import subprocess
from pathlib import Path

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.structure import MISREAD
from litefleet_controller.convert.targets.compilation import Compilation, CompilerLog, parse_log
from litefleet_controller.convert.targets.edgetpu_file import edges, is_compiled, operators, runtime_version
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.workers.tasks import COMPILED_FILE, RungError

_SECONDS = 300.0
_MAX_DATA_BYTES = 4 * 1024**3
_MAX_LOG_BYTES = 1024**2
_INPUT = "model.tflite"
_OUTPUT = "model_edgetpu.tflite"


def compile_model(program: str, model: bytes, folder: Path, seconds: float = _SECONDS) -> Compilation:
    """Write COMPILED_FILE.

    Raises:
        RungError: `CompilerFailed`, when the compiler refuses the model or makes something else of it.
        ConversionError: `ToolMissing` or `Timeout`, not final.
    """
    work = folder / "compiler"
    work.mkdir()
    (work / _INPUT).write_bytes(model)
    code, said = _run([program, "--show_operations", "--out_dir", str(work), str(work / _INPUT)], work, seconds)
    log = parse_log(said)
    made = work / _OUTPUT
    if code != 0 or not made.is_file() or made.is_symlink():
        raise RungError("CompilerFailed", f"{_who(log)} refuses the model: {_complaint(said, code)}")
    if not log.version or not log.rows:
        raise RungError("CompilerFailed", f"{program} printed nothing that this version reads")
    compilation = _checked(model, made.read_bytes(), log)
    made.rename(folder / COMPILED_FILE)
    return compilation


def _run(command: list[str], work: Path, seconds: float) -> tuple[int, str]:
    """Exit code, and the first megabyte of what it printed."""
    output = work / "output.log"
    try:
        with output.open("wb") as file:
            child = subprocess.Popen(command, cwd=work, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    except OSError as e:
        raise ConversionError("ToolMissing", f"{command[0]} can't be started: {e.strerror}", final=False) from e
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        resource.prlimit(child.pid, resource.RLIMIT_DATA, (_MAX_DATA_BYTES, _MAX_DATA_BYTES))
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired as e:
        # What it started goes with this worker, which isn't well after an error that isn't final.
        child.kill()
        child.wait()
        raise ConversionError("Timeout", f"{command[0]} did not end within {seconds:g} s", final=False) from e
    with output.open("rb") as file:
        return code, file.read(_MAX_LOG_BYTES).decode(errors="replace")


def _checked(model: bytes, made: bytes, log: CompilerLog) -> Compilation:
    """Whether it is the same model to the outside, with a part for the TPU."""
    try:
        before, after = parse(model), parse(made)
        same, is_for_tpu = edges(before) == edges(after), is_compiled(after)
        found, runtime = operators(after), runtime_version(after)
    except MISREAD as e:
        raise RungError("CompilerFailed", f"{_who(log)} made a file that can't be read ({str(e)[:80]})") from e
    if not is_for_tpu:
        raise RungError("CompilerFailed", f"{_who(log)} maps none of {log.operators} operators to the Edge TPU")
    if not same:
        raise RungError("CompilerFailed", f"{_who(log)} changed what goes into the model or comes out of it")
    return Compilation(log=log, runtime_version=runtime, operators=found)


def _who(log: CompilerLog) -> str:
    return f"edgetpu_compiler {log.version}".strip()


def _complaint(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith(("ERROR", "Invalid", "Internal", "Compilation failed:"))]
    return (complaints or lines[-1:] or [f"exit code {code}"])[0][:240]
