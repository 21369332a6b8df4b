"""`litefleet model import-h5`: the way in for models that were saved before `.keras` files."""

from pathlib import Path
from typing import Annotated

import typer

from litefleet_controller.cli.errors import CliError


def import_h5(
    file: Annotated[Path, typer.Argument(help="A model that model.save() wrote as .h5.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .keras file to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
) -> None:
    """Turn an old .h5 model, of Keras 2 too, into a .keras file, in a worker that can do no harm."""
    from litefleet_controller.cli.printing import note, size
    from litefleet_controller.cli.working import carry_out, needs, put, shown, writable
    from litefleet_controller.convert.workers.limits import WorkerLimits
    from litefleet_controller.convert.workers.owntasks import MODEL_FILE, Imported, ImportH5

    if not file.is_file():
        raise CliError(f"there is no file {str(file)!r}", "NotFound")
    writable(out, ".keras", force=force)
    needs("tensorflow", "keras")
    written = 0

    def task(folder: Path) -> ImportH5:
        return ImportH5(folder=str(folder), source=str(file.resolve()))

    def keep(folder: Path, _: Imported) -> None:
        nonlocal written
        written = put(folder / MODEL_FILE, out)

    with shown() as display:
        done = carry_out(task, Imported, lambda s: display.stage(s.stage, s.percent), keep, WorkerLimits())
    version = f"from Keras {done.keras_version}; " if done.keras_version else ""
    print(
        f"{out}: {done.parameters:,} parameters, {size(written)}; {version}takes {', '.join(done.inputs)}, "
        f"gives {', '.join(done.outputs)}"
    )
    for what in done.lost:
        note(f"lost: {what}")
    if any("?" in shape for shape in done.inputs):
        note("its input has open dimensions: say in the Model's spec.input.shape what they are on boards")
    note(f"next: litefleet model push {out}")
