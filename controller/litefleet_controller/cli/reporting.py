"""`litefleet model report`: what became of a model, as a table and as a page."""

from pathlib import Path
from typing import Annotated

import typer

from litefleet_controller.cli.session import connected, current


@connected
def report(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="NAME for the newest version, or NAME:VERSION.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write it as a page: one HTML file, with plots.", dir_okay=False)
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """What each class of boards got of a model, out of which candidates, and why."""
    import json
    from urllib.parse import quote

    from litefleet_controller.cli.candidates import report_lines
    from litefleet_controller.cli.errors import CliError, UsageError
    from litefleet_controller.cli.printing import note, show

    if output not in ("table", "json"):
        raise UsageError(f"-o {output!r}: use table or json")
    name, colon, version = model.partition(":")
    if not name or (colon and not version):
        raise UsageError(f"{model!r}: name a model, or a model and its version as {name or 'digits'}:3")
    with current(context) as session:
        path = session.fleet(f"models/{quote(name, safe='')}/report")
        found = session.client.get(path, params={"version": version} if version else None)
    if output == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(report_lines(found))
    if out is not None:
        from litefleet_controller.cli.report.page import page

        try:
            out.write_text(page(found), encoding="utf-8")
        except OSError as e:
            raise CliError(f"{str(out)!r} can't be written: {e.strerror}", "CannotWrite") from e
        note(f"written to {out}")
