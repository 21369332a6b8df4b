"""`litefleet targets`: which accelerators this machine can make files for, and what is missing for the rest.

Looks at the machine that it runs on: with `litefleet up`, the one that converts.
"""

from typing import Annotated

import typer


def targets(output: Annotated[str, typer.Option("--output", "-o", help="table, wide or json.")] = "table") -> None:
    """Say for each kind of accelerator what can be made for it on this machine, and how to get what is missing."""
    import os
    from dataclasses import asdict

    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.cli.printing import columns, note, show
    from litefleet_controller.convert.targets.every import TARGETS, standings
    from litefleet_controller.convert.targets.tools import InstalledTools

    if output not in ("table", "wide", "json"):
        raise UsageError(f"-o {output!r}: use table, wide or json")
    tools = InstalledTools(os.environ)
    found = standings(tools)
    if output == "json":
        import json

        print(json.dumps([asdict(standing) for standing in found], indent=2))
        return
    boards = {target.name: target.boards for target in TARGETS}
    wide = output == "wide"
    rows = [(s.target, *((boards[s.target],) if wide else ()), s.makes, s.state, s.tool) for s in found]
    show(columns(["Target", *(("Boards",) if wide else ()), "Makes", "State", "Tool"], rows))
    for standing in found:
        if standing.how:
            show(["", f"{standing.target}: {standing.makes}: {standing.state}", f"  {standing.how}"])
    note(f"\non this machine ({tools.machine}); the controller converts on its own")
