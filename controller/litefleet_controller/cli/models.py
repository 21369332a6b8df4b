"""`litefleet model`, and its `push`: a model or a data set goes up, its URI comes back."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from litefleet_controller.cli import fitting, importing, making, reporting
from litefleet_controller.cli.session import connected, current

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(no_args_is_help=True, help="Models and data sets.")

app.command()(making.new)
app.command()(reporting.report)
app.command()(fitting.train)
app.command("import-h5")(importing.import_h5)

_PIECE = 256 * 1024
_SHOWN_CLASSES = 12


@app.command()
@connected
def push(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A .keras or .tflite model, a SavedModel's folder, an .npz data set, or a folder of images.",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Judge the file by this name instead of its own.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="uri or json.")] = "uri",
) -> None:
    """Upload a file or a folder, and print the URI for manifests. The same again is the same URI.

    A folder holds a SavedModel, or images in one folder for each class.
    """
    import json

    from litefleet_controller.cli.errors import UsageError

    if output not in ("uri", "json"):
        raise UsageError(f"-o {output!r}: use uri or json")
    with _packed(file) as path:
        shown = name or (file.name if path == file else f"{file.resolve().name}.zip")
        size = _check(path, shown)
        with current(context) as session, path.open("rb") as stream, _progress(shown, size) as advance:
            answer = session.client.upload(
                session.fleet("blobs"), _pieces(stream, advance), size, params={"name": shown}
            )
    print(json.dumps(answer) if output == "json" else answer["uri"])


@contextmanager
def _packed(file: Path) -> Iterator[Path]:
    """The file itself, or for a folder what is in it as one file, for as long as it is needed."""
    if not file.is_dir():
        yield file
        return
    import tempfile

    from litefleet_controller.cli.errors import CliError
    from litefleet_controller.fleet.errors import UploadRefusedError
    from litefleet_controller.fleet.packing import pack_folder

    with tempfile.NamedTemporaryFile(prefix="litefleet-", suffix=".zip") as scratch:
        try:
            _say_classes(pack_folder(file, scratch))
            scratch.flush()
        except UploadRefusedError as e:
            raise CliError(str(e), e.code, hint=e.hint) from e
        except OSError as e:
            raise CliError(f"{str(file)!r} can't be packed: {e.strerror}", "NotFound") from e
        yield Path(scratch.name)


def _say_classes(images: dict[str, int]) -> None:
    """Beside the URI, which scripts read from stdout."""
    if images:
        shown = ", ".join(f"{name or 'no class'} {count}" for name, count in list(images.items())[:_SHOWN_CLASSES])
        more = f", and {len(images) - _SHOWN_CLASSES} more" if len(images) > _SHOWN_CLASSES else ""
        print(f"{sum(images.values())} images in {len(images)} classes: {shown}{more}", file=sys.stderr)


def _check(file: Path, name: str) -> int:
    """The file's size, when it can be pushed: what the server would refuse is refused before it is sent."""
    from litefleet_controller.cli.errors import CliError
    from litefleet_controller.fleet.errors import UploadRefusedError
    from litefleet_controller.fleet.formats import HEAD_BYTES, check_archive, check_head, check_name
    from litefleet_controller.fleet.push import MAX_BYTES

    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        size = file.stat().st_size
        check_head(name, head)
        check_name(name)
        if size > MAX_BYTES:
            raise CliError(f"{str(file)!r} has {size} bytes; an upload may have {MAX_BYTES}", "TooLarge")
        check_archive(name, file)
    except UploadRefusedError as e:
        raise CliError(str(e), e.code, hint=e.hint) from e
    except OSError as e:
        raise CliError(f"{str(file)!r} can't be read: {e.strerror}", "NotFound") from e
    return size


def _pieces(stream: IO[bytes], advance: "Callable[[int], object]") -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece
        advance(len(piece))


@contextmanager
def _progress(name: str, size: int) -> Iterator["Callable[[int], object]"]:
    """A bar on the terminal; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(name, total=size)
        yield lambda n: progress.advance(task, n)
