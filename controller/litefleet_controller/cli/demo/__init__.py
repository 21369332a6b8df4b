"""`litefleet demo`: the whole product in a few minutes, with real processes on this machine.

A story for people and a test for us: it fails when an inference is lost or answered wrongly, or when a bad version is
not caught.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from litefleet_controller.cli.errors import CliError


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, and say what to open and type.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where its files go; a temporary folder when not given.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the controller; 0 takes a free one.")] = 0,
    svg: Annotated[Path | None, typer.Option(help="Also write the end of it as a picture.", dir_okay=False)] = None,
) -> None:
    """Train, convert, roll out, catch two bad versions: nine real agents, a real broker, real digits."""
    from litefleet_controller.cli.demo.progress import Teller
    from litefleet_controller.cli.demo.story import Demo

    _check_tools()
    where = directory or Path(tempfile.mkdtemp(prefix="litefleet-demo-"))
    where.mkdir(parents=True, exist_ok=True)
    if any(where.iterdir()):
        raise CliError(f"{where} is not empty", "DirectoryNotEmpty", hint="give --dir a folder that can be filled")
    running = Demo(where, Teller(sys.stderr if as_json else sys.stdout), port)
    finished = False
    try:
        report = running.play()
        finished = True
        if as_json:
            print(json.dumps(report.json()))
        else:
            report.print(running.teller.console)
        if svg is not None:
            svg.write_text(report.svg())
        if keep:
            _say_what_to_try(where, running.kubeconfig, running.write_pids())
        if not report.kept_its_word:
            raise CliError(
                "the demo did not keep its word: see the table above", "DemoFailed", hint=f"logs are in {where}"
            )
    except KeyboardInterrupt:
        keep = False
        raise CliError("interrupted; everything that was started has been ended", "Interrupted") from None
    finally:
        if not (keep and finished):
            running.close()
            if finished and directory is None:
                shutil.rmtree(where, ignore_errors=True)


def _check_tools() -> None:
    """The demo needs more than the controller: say so before anything starts."""
    from importlib.util import find_spec

    for module, extra in (("tensorflow", "convert"), ("sklearn", "demo"), ("litefleet_agent", "demo")):
        if find_spec(module) is None:
            raise CliError(
                f"{module} is not installed",
                "ToolMissing",
                hint=f"pip install 'litefleet-controller[{extra}]', or make setup",
            )


def _say_what_to_try(where: Path, kubeconfig: Path, pids: Path) -> None:
    print(f"""It is still running, at the address in the kubeconfig. Try, in another terminal:

  export KUBECONFIG={kubeconfig}
  kubectl get devices
  kubectl get modelversions -o wide
  kubectl describe modelrollout digits
  kubectl get devices -w
  litefleet rollout history digits
  litefleet rollout retry digits        # send the bad version out again, and watch it come back

Logs and answers are under {where}. End it with: kill $(cat {pids})
""")
