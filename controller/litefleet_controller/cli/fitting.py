"""`litefleet model train`: a network fitted to somebody's own images, and what a Model needs beside it."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litefleet_controller.cli.errors import CliError

if TYPE_CHECKING:
    from litefleet_controller.convert.workers.limits import WorkerLimits
    from litefleet_controller.convert.workers.owntasks import Epoch, Fitted
    from litefleet_controller.convert.workers.tasks import Stage

_MONTH_S = 30 * 24 * 3600


def train(
    model: Annotated[Path, typer.Argument(help="A .keras file.", show_default=False)],
    data: Annotated[
        Path,
        typer.Option(help="A folder of images in class folders, or an .npz with x and y.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .keras file to write.", show_default=False)],
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="At most.")] = 20,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Images a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="The largest, of Adam: it rises to it, then falls.")] = 1e-3,
    validation: Annotated[float, typer.Option(help="Share of each class that is held out to measure accuracy.")] = 0.1,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better one before it ends.")] = 5,
    scale: Annotated[float, typer.Option(help="Pixels are multiplied by this first; 1 for networks of 'new'.")] = 1.0,
    offset: Annotated[float, typer.Option(help="And this is added.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the split, the order and the dropout.")] = 0,
    sets: Annotated[
        Path | None,
        typer.Option(help="A folder for evaluation.npz (what was held out) and calibration.npz.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> None:
    """Fit a network to images, and keep the best epoch; Ctrl-C keeps the best so far."""
    from litefleet_controller.cli.printing import note
    from litefleet_controller.cli.working import carry_out, needs, put, shown, writable
    from litefleet_controller.convert.workers.owntasks import (
        CALIBRATION_FILE,
        EVALUATION_FILE,
        MODEL_FILE,
        Fit,
        Fitted,
    )

    _check_range("--validation", validation, 0.5)
    _check_range("--learning-rate", learning_rate, 10.0)
    _check_given(model, data)
    writable(out, ".keras", force=force)
    wanted = {} if sets is None else {n: sets / n for n in (EVALUATION_FILE, CALIBRATION_FILE)}
    for place in wanted.values():
        writable(place, ".npz", force=force)
    needs("tensorflow", "keras", "PIL")

    def task(folder: Path) -> Fit:
        return Fit(
            folder=str(folder), model=str(model.resolve()), data=str(data.resolve()), epochs=epochs, batch=batch,
            learning_rate=learning_rate, held_out=validation, patience=patience, seed=seed, scale=scale, offset=offset,
        )  # fmt: skip

    seen: list[Epoch] = []

    def told(stage: "Stage") -> None:
        display.stage(stage.stage, stage.percent)
        if stage.note:
            display.say(f"note: {stage.note}")
        if stage.epoch is not None:
            seen.append(stage.epoch)
            display.say(_line(stage.epoch, epochs))

    def keep(folder: Path) -> None:
        made = {MODEL_FILE: out, **wanted} if (folder / MODEL_FILE).exists() else {}
        for name, place in made.items():
            put(folder / name, place)

    try:
        with shown() as display:
            fitted = carry_out(task, Fitted, told, lambda folder, _: keep(folder), _limits(), salvage=keep)
    except KeyboardInterrupt:
        note(f"\ninterrupted; {_kept(seen, out)}")
        raise
    except CliError as e:
        hint = f"{e.hint}; {_kept(seen, out)}".lstrip("; ") if seen else e.hint
        raise CliError(str(e), e.code, hint=hint) from e
    best = _best(fitted.epochs)
    print(
        f"{out}: {best.held_out_accuracy:.1%} of {fitted.held_out} held-out images right, after epoch {best.number} "
        f"of {len(fitted.epochs)} on {fitted.trained_on}"
    )
    print(_manifest(fitted))
    note(f"next: litefleet model push {out}" + "".join(f"\n      litefleet model push {p}" for p in wanted.values()))
    note("      litefleet apply -f MODEL.yaml: URIs and lines as above, see manifests/examples/01-first-model.yaml")


def _check_given(model: Path, data: Path) -> None:
    """Raises: CliError."""
    for given in (model, data):
        if not given.exists():
            raise CliError(f"there is no {str(given)!r}", "NotFound")
    if model.suffix != ".keras":
        raise CliError(f"{str(model)!r} is no .keras file", "FormatMismatch", hint="build one with litefleet model new")
    if data.is_file() and data.suffix != ".npz":
        raise CliError(
            f"--data {str(data)!r} is neither a folder nor an .npz file",
            "FormatMismatch",
            hint="put the images of each class into a folder, and those folders into one",
        )


def _check_range(option: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise CliError(f"{option} {value:g}: must be above 0 and at most {most:g}", "OutOfRange")


def _limits() -> "WorkerLimits":
    """A person's own training on their own machine: it may take what the machine has, and as long as it takes."""
    from litefleet_controller.convert.workers.limits import WorkerLimits

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = WorkerLimits()
    return replace(
        limits,
        max_rss_bytes=max(memory, limits.max_rss_bytes),
        max_data_bytes=max(2 * memory, limits.max_data_bytes),
        cpu_seconds=_MONTH_S,
    )


def _line(epoch: "Epoch", epochs: int) -> str:
    return (
        f"epoch {epoch.number:>{len(str(epochs))}} of {epochs}: loss {epoch.loss:.3f}, {epoch.accuracy:.1%} right; "
        f"held out: loss {epoch.held_out_loss:.3f}, {epoch.held_out_accuracy:.1%} right"
    )


def _best(epochs: "Sequence[Epoch]") -> "Epoch":
    best = epochs[0]
    for epoch in epochs:
        best = epoch if epoch.is_better_than(best) else best
    return best


def _kept(seen: "Sequence[Epoch]", out: Path) -> str:
    if not seen:
        return "no epoch had ended, so nothing is kept"
    best = _best(seen)
    return f"{out} is the best so far, of epoch {best.number}: {best.held_out_accuracy:.1%} of held-out images right"


def _manifest(fitted: "Fitted") -> str:
    """The lines of a Model's spec that follow from what was trained on."""
    given = fitted.preprocess
    lines = {
        "resize": given.resize and list(given.resize),
        "channels": given.channels,
        "scale": None if given.scale == 1 else given.scale,
        "offset": given.offset or None,
    }
    stated = {name: value for name, value in lines.items() if value is not None}
    output: dict[str, object] = {"labels": list(fitted.labels)}
    if fitted.are_logits:
        output["postprocess"] = {"activation": "softmax"}
    return "\n".join(
        [
            f"  input: {{preprocess: {json.dumps(stated)}}}",
            f"  output: {json.dumps(output, ensure_ascii=False)}",
        ]
    )
