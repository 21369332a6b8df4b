"""The child process that converts. Started by process.py as `python -m litefleet_controller.convert.workers.worker`.

Reads tasks from stdin, writes replies to what stdout was, ends when stdin does. It imports what a task needs when the
task needs it: a worker that never freezes never imports tensorflow. Whatever a library prints goes to stderr, so that
it can't be taken for a reply. Before anything else it is closed in (sandbox/), and says how.
"""

import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.owntasks import Build, Fit, ImportH5
from litefleet_controller.convert.workers.sandbox.enter import enter
from litefleet_controller.convert.workers.sandbox.screen import Private
from litefleet_controller.convert.workers.tasks import (
    Accelerate,
    Calibrate,
    CheckPrebuilt,
    Decode,
    Failed,
    Freeze,
    Inspect,
    Prune,
    Quantize,
    Refused,
    Reply,
    RungError,
    Stage,
    Task,
    frame,
    read_frame,
    task_decoder,
)

_MAX_FILE_BYTES = 4 * 1024**3


def limit_process(data_bytes: int) -> None:
    """Give this process limits that it can't raise again.

    RLIMIT_AS is no use: tensorflow maps 2 GB of address space for 0.6 GB of memory. RLIMIT_DATA counts private
    writable memory, touched or not; the parent watches the resident size as well.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))


def allow_cpu(seconds: int) -> None:
    """SIGXCPU after `seconds` more of CPU time."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent.ru_utime + spent.ru_stime) + seconds, hard))


def carry_out(task: Task, replies: BinaryIO) -> Reply:
    """One task, with the stages it goes through written to `replies`."""

    def report(stage: Stage) -> None:
        replies.write(frame(stage))
        replies.flush()

    try:
        return _done(task, report)
    except RungError as e:
        return Refused(code=e.code, message=str(e))
    except ConversionError as e:
        return Failed(code=e.code, message=str(e), final=e.final, hint=e.hint)
    except MemoryError:
        return Failed(code="MemoryLimit", message="the worker has no memory left for this model", final=False)
    except Exception as e:  # noqa: BLE001 - the worker's edge: the traceback goes to the log, a sentence to the caller
        traceback.print_exc()
        return Failed(code="WorkerCrashed", message=f"{type(e).__name__}: {str(e)[:240]}", final=False)


def _done(task: Task, report: Callable[[Stage], None]) -> Reply:  # noqa: C901, PLR0911 - one for each kind of task
    def stage(name: str, percent: int) -> None:
        report(Stage(stage=name, percent=percent))

    match task:
        case Freeze():
            from litefleet_controller.convert.opening.freeze import freeze

            return freeze(task, stage)
        case Inspect():
            from litefleet_controller.convert.opening.foreign import inspect

            return inspect(task, stage)
        case Decode():
            from litefleet_controller.convert.samples.decode import decode

            return decode(task, stage)
        case Prune():
            from litefleet_controller.convert.making.pruning.prune import prune

            return prune(task, stage)
        case Calibrate():
            from litefleet_controller.convert.making.ranges import calibrate

            return calibrate(task, stage)
        case Quantize():
            from litefleet_controller.convert.making.variant import make_variant

            return make_variant(task, stage)
        case Accelerate():
            from litefleet_controller.convert.targets.accelerate import accelerate

            return accelerate(task, stage)
        case CheckPrebuilt():
            from litefleet_controller.convert.targets.edgetpu_prebuilt import check_prebuilt

            return check_prebuilt(task, stage)
        case Build():
            from litefleet_controller.convert.zoo.building import build

            return build(task, stage)
        case Fit():
            from litefleet_controller.convert.fitting.fit import fit

            return fit(task, report)
        case ImportH5():
            from litefleet_controller.convert.opening.importing import import_h5

            return import_h5(task, stage)


def _receive(stdin: BinaryIO, tasks: "queue.SimpleQueue[bytes]") -> None:
    """Reads in a thread, to notice that the parent is gone even in the middle of a task."""
    while (body := read_frame(stdin)) is not None:
        tasks.put(body)
    os._exit(0)


def main() -> int:
    """The program: `worker DATA_BYTES CPU_SECONDS [PRIVATE_FOLDER SHOWN_FOLDER ...]`, in its scratch folder."""
    data_bytes, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    limit_process(data_bytes)
    folders = [Path(argument) for argument in sys.argv[3:]]
    containment = enter(Path.cwd(), Private(folders[0], tuple(folders[1:])) if folders else None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    replies.write(frame(containment))
    replies.flush()
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        body = tasks.get()
        allow_cpu(cpu_seconds)
        replies.write(frame(carry_out(task_decoder.decode(body), replies)))
        replies.flush()


if __name__ == "__main__":
    sys.exit(main())
