"""`litefleet model new`: from nothing to a network that can be trained, converted and rolled out.

TensorFlow runs in a worker process; this one never imports it.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from litefleet_controller.cli.errors import CliError

Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]
_SHAPE = re.compile(r"(\d{1,5})x(\d{1,5})(?:x(\d{1,2}))?", re.ASCII)


def new(
    architecture: Annotated[str, typer.Argument(help="An architecture, see --list.", show_default=False)] = "",
    classes: Annotated[int | None, typer.Option(help="How many classes it tells apart.", show_default=False)] = None,
    shape: Annotated[
        str,
        typer.Option("--input", help="Height x width in pixels, and channels: 96x96, 28x28x1.", metavar="HxW[xC]"),
    ] = "224x224x3",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .keras file to write.", show_default=False)
    ] = None,
    width: Annotated[
        float, typer.Option("--width", "--alpha", help="Multiplies the channels, where the family has it.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the weights.")] = 0,
    force: Force = False,
    listing: Annotated[bool, typer.Option("--list", help="List the architectures.")] = False,
) -> None:
    """Build an untrained network of a light architecture as a .keras file. It takes pixels of 0 to 255."""
    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.cli.printing import note, size
    from litefleet_controller.cli.working import carry_out, needs, put, shown, writable
    from litefleet_controller.convert.interface import ConversionError
    from litefleet_controller.convert.workers.limits import WorkerLimits
    from litefleet_controller.convert.workers.owntasks import MODEL_FILE, Build, Built
    from litefleet_controller.convert.zoo.every import architecture as named

    if listing:
        _list()
        return
    if not architecture:
        raise UsageError("name an architecture: litefleet model new --list")
    if classes is None or out is None:
        raise UsageError("say how many --classes it tells apart, and where it goes: --out m.keras")
    dimensions = parse_shape(shape)
    try:
        named(architecture).plan(dimensions, classes, width)
    except ConversionError as e:
        raise CliError(str(e), e.code, hint=e.hint) from e
    writable(out, ".keras", force=force)
    needs("tensorflow", "keras")

    def task(folder: Path) -> Build:
        return Build(
            folder=str(folder), architecture=architecture, shape=dimensions, classes=classes, width=width, seed=seed
        )

    written = 0

    def keep(folder: Path, _: Built) -> None:
        nonlocal written
        written = put(folder / MODEL_FILE, out)

    with shown() as display:
        built = carry_out(task, Built, lambda s: display.stage(s.stage, s.percent), keep, WorkerLimits())
    height, across, channels = dimensions
    print(
        f"{out}: {architecture}, {built.trainable:,} parameters, {size(written)}; takes {height}x{across} pixels in "
        f"{'RGB' if channels == 3 else 'grey'} of 0 to 255, tells {classes} classes apart; untrained"
    )
    if built.left_out:
        note(f"{built.left_out} of its halvings left out, because the input is small")
    note(f"next: litefleet model train {out} --data FOLDER --out {out.with_name(f'{out.stem}-trained.keras')}")


def parse_shape(text: str) -> tuple[int, int, int]:
    """`96x96` or `28x28x1` as (height, width, channels); 3 channels when none are named.

    Raises:
        CliError: `InvalidArgument`.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise CliError(f"--input {text[:40]!r} isn't height x width, as in 96x96 or 28x28x1", "InvalidArgument")
    height, width, channels = match.groups(default="3")
    return int(height), int(width), int(channels)


def _list() -> None:
    from litefleet_controller.cli.printing import columns, show
    from litefleet_controller.convert.zoo.every import ARCHITECTURES

    rows = [
        (a.name, f"{a.parameters / 1e6:.1f} M", ", ".join(f"{w:g}" for w in a.widths), a.good_for)
        for a in ARCHITECTURES
    ]
    show(columns(["Architecture", "Parameters", "Widths", "Good for"], rows))
