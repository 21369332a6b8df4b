"""A command's own worker process: what it does meanwhile is shown, and what it made is put where it was asked for."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.printing import note

if TYPE_CHECKING:
    from litefleet_controller.convert.workers.limits import WorkerLimits
    from litefleet_controller.convert.workers.tasks import Result, Stage, Task

T = TypeVar("T", bound="Result")


class Shown(Protocol):
    """Where a worker's progress goes."""

    def stage(self, text: str, percent: int) -> None:
        """What is done now, and how much of the whole is done."""
        ...

    def say(self, text: str) -> None:
        """A line that stays."""
        ...


class _Lines:
    """For a file or a log: a line for each stage."""

    def __init__(self) -> None:
        self._last = ""

    def stage(self, text: str, percent: int) -> None:
        del percent
        if text != self._last:
            self._last = text
            self.say(f"{text} ...")

    def say(self, text: str) -> None:
        note(text)


@contextmanager
def shown() -> Iterator[Shown]:
    """A bar on the terminal, lines elsewhere; on stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with Progress(*columns, TextColumn("left:"), TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=100)

        class Bar:
            def stage(self, text: str, percent: int) -> None:
                progress.update(bar, description=text, completed=percent)

            def say(self, text: str) -> None:
                console.print(text)

        yield Bar()


def carry_out(
    task: "Callable[[Path], Task]",
    kind: type[T],
    on_stage: "Callable[[Stage], None]",
    keep: "Callable[[Path, T], None]",
    limits: "WorkerLimits",
    *,
    salvage: "Callable[[Path], None] | None" = None,
) -> T:
    """Have the task done that `task` makes for a folder; `keep` takes what is wanted from there.

    `salvage` takes what can be saved when it isn't done: after an interruption, or an error.

    Raises:
        CliError: what the worker says.
    """
    from litefleet_controller.convert.interface import ConversionError
    from litefleet_controller.convert.workers.single import single_worker

    async def work() -> T:
        if (this := asyncio.current_task()) is not None:
            # What ends a service or a batch job leaves no less behind than Ctrl-C does.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        async with single_worker(limits) as worker:
            try:
                done = await worker.ask(task(worker.scratch), on_stage)
            except (asyncio.CancelledError, ConversionError):
                if salvage is not None:
                    salvage(worker.scratch)
                raise
            assert isinstance(done, kind)  # noqa: S101 - the worker answers a task with its own kind of reply
            keep(worker.scratch, done)
            return done

    try:
        return asyncio.run(work())
    except ConversionError as e:
        raise CliError(str(e), e.code, hint=e.hint) from e
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def needs(*modules: str) -> None:
    """Refuse a command whose tools aren't installed, before anything starts.

    Raises:
        CliError: `ToolMissing`.
    """
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise CliError(
            f"this command needs {', '.join(missing)}, which isn't installed here",
            "ToolMissing",
            hint="pip install 'litefleet-controller[convert]'",
        )


def writable(out: Path, suffix: str, *, force: bool) -> None:
    """Refuse a place for a result before the work for it is done.

    Raises:
        CliError: `InvalidArgument`, `NotFound` or `AlreadyExists`.
    """
    if out.suffix != suffix:
        raise CliError(f"--out {str(out)!r}: the name must end in {suffix}", "InvalidArgument")
    if not out.parent.is_dir():
        raise CliError(f"--out {str(out)!r}: there is no folder {str(out.parent)!r}", "NotFound", hint="make it first")
    if out.is_dir():
        raise CliError(f"--out {str(out)!r} is a folder", "InvalidArgument")
    if out.exists() and not force:
        raise CliError(f"{str(out)!r} is there already", "AlreadyExists", hint="--force replaces it")


def put(made: Path, out: Path) -> int:
    """Put what a worker made at `out`, whole or not at all; returns its size in bytes.

    Raises:
        CliError: `NotWritten`.
    """
    from litefleet_controller.convert.handover import read_plain_file
    from litefleet_controller.fileio import write_file

    try:
        data = read_plain_file(made)
        write_file(out, data, mode=0o644)
    except OSError as e:
        raise CliError(f"{str(out)!r} can't be written: {e.strerror or e}", "NotWritten") from e
    return len(data)
