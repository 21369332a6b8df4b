"""`litefleet rollout ...`: look at a rollout, follow it, and give it a verb."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any

import typer

from litefleet_controller.cli.session import Session, connected, current

app = typer.Typer(no_args_is_help=True, help="Look at a rollout, follow it, and say what shall become of it.")

Name = Annotated[str, typer.Argument(help="The ModelRollout's name.", show_default=False)]
Json = dict[str, Any]
_ANSWER_S = 5.0
_LOOK_S = 1.0
_PATIENCE_S = 30.0


@app.command()
@connected
def status(
    context: typer.Context,
    name: Name,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Until it is Healthy (exit code 0) or Degraded (1).")
    ] = False,
    timeout: Annotated[str, typer.Option(help="With --wait: give up after this long.")] = "30m",
) -> None:
    """Where a rollout stands: steps, classes, boards, and what it waits for."""
    from litefleet_controller.cli.errors import CliError
    from litefleet_controller.cli.printing import show

    with current(context) as session:
        deadline = time.monotonic() + seconds(timeout, "--timeout")
        for view in _views(session, name):
            if not wait or view["settled"]:
                show(page(view))
                if wait and view["phase"] == "Degraded":
                    raise CliError(f"rollout {name!r} is degraded: {view['message']}", "Degraded")
                return
            if time.monotonic() > deadline:
                show(page(view))
                raise CliError(
                    f"rollout {name!r} has not come to an end within {timeout}: {view['message']}", "Timeout"
                )


@app.command()
@connected
def watch(context: typer.Context, name: Name) -> None:
    """Follow a rollout live, until interrupted."""
    import sys

    with current(context) as session:
        if sys.stdout.isatty():
            _live(session, name)
            return
        said = ""
        for view in _views(session, name):
            line = f"{view['phase'] or 'Pending'}: {view['message']}"
            if line != said:
                print(line, flush=True)
            said = line


@app.command()
@connected
def history(context: typer.Context, name: Name) -> None:
    """The versions that went through it, the newest last, and what became of each."""
    from litefleet_controller.cli.describing import history as table
    from litefleet_controller.cli.printing import note, show

    with current(context) as session:
        lines = table(_view(session, name)["history"])
    show(lines) if lines else note("nothing has come to an end yet")


@app.command()
@connected
def promote(context: typer.Context, name: Name) -> None:
    """End the pause that it stands in, and go on with the next step."""
    _verb(context, "promote", name)


@app.command()
@connected
def abort(context: typer.Context, name: Name) -> None:
    """Stop, and take every board back to the version before."""
    _verb(context, "abort", name)


@app.command()
@connected
def retry(context: typer.Context, name: Name) -> None:
    """Begin an aborted rollout's steps anew."""
    _verb(context, "retry", name)


@app.command()
@connected
def pause(context: typer.Context, name: Name) -> None:
    """Command no further board until resumed (sets spec.paused)."""
    _verb(context, "pause", name)


@app.command()
@connected
def resume(context: typer.Context, name: Name) -> None:
    """Go on after pause."""
    _verb(context, "resume", name)


@app.command()
@connected
def undo(
    context: typer.Context,
    name: Name,
    to_version: Annotated[
        str | None,
        typer.Option("--to-version", help="A number or a ModelVersion's name; the one completed before, by default."),
    ] = None,
) -> None:
    """Roll out an earlier version, through the same steps (sets spec.modelRef.version)."""
    _verb(context, "undo", name, {"toVersion": to_version} if to_version else {})


def page(view: Json) -> list[str]:
    """A rollout on one page."""
    from litefleet_controller.cli.describing import rollout_classes
    from litefleet_controller.cli.printing import columns

    marks = {"done": "x", "current": ">", "waiting": " "}
    target = view["targetVersion"]
    text = [
        f"Rollout:  {view['name']}",
        f"Model:    {view['model']}, version {view['version']}"
        + (f" (now {target})" if target not in ("", view["version"]) else ""),
        f"Phase:    {view['phase'] or 'Pending'}" + (f" ({view['pauseReason']})" if view["pauseReason"] else ""),
        f"Message:  {view['message'] or '-'}",
    ]
    if view["steps"]:
        text += ["Steps:", *(f"  [{marks[s['state']]}] {s['index'] + 1}. {s['text']}" for s in view["steps"])]
    if view["classes"]:
        text += ["", *rollout_classes(view["classes"])]
    if view["analysis"]:
        text += ["", f"Analysis: {view['analysis']['phase']}: {view['analysis'].get('message', '')}"]
    if view["boards"]:
        boards = [
            (b["name"], b["class"], b["connection"], b["phase"], b["currentVersion"], b["desiredVersion"],
             f"{b['code']}: {b['message']}" if b["code"] else b["progress"])
            for b in view["boards"]
        ]  # fmt: skip
        text += ["", *columns(["Board", "Class", "Connection", "Phase", "Current", "Desired", "Message"], boards)]
    if view["boardsLeftOut"]:
        text.append(f"and {view['boardsLeftOut']} more boards")
    return text


def seconds(text: str, option: str) -> float:
    """`10m`, `1h30m`, `45s` or a number, as manifests have it."""
    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.resources.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError as e:
        raise UsageError(f"{option}: {e}") from e


def _verb(context: typer.Context, verb: str, name: str, body: Json | None = None) -> None:
    with current(context) as session:
        answer = session.client.post(session.fleet(f"rollouts/{name}/{verb}"), body or {})
        outcome = _outcome(session, name, answer["request"]) if answer["request"] else ""
    print(f"{answer['message']}: {outcome}" if outcome else answer["message"])


def _outcome(session: Session, name: str, request: str) -> str:
    """What the controller made of a request, if it says so soon; "" when it doesn't."""
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        last = _view(session, name)["lastRequest"] or {}
        if last.get("id") == request and last.get("outcome"):
            return str(last["outcome"])
        time.sleep(0.2)
    return ""


def _view(session: Session, name: str) -> Json:
    return session.client.get(session.fleet(f"rollouts/{name}"))


def _views(session: Session, name: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[Json]:
    """The rollout again and again, for as long as somebody looks; a restart of the controller is waited for."""
    from litefleet_controller.cli.errors import CliError

    seen = -math.inf
    while True:
        try:
            view = _view(session, name)
        except CliError as e:
            if e.code not in ("Unreachable", "Timeout") or time.monotonic() - seen > _PATIENCE_S:
                raise
        else:
            seen = time.monotonic()
            yield view
        sleep(_LOOK_S)


def _live(session: Session, name: str) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from litefleet_controller.cli.printing import coloured

    console = Console()
    began = time.monotonic()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for view in _views(session, name):
            watched = str(timedelta(seconds=int(time.monotonic() - began)))
            lines = [
                *(coloured(line) for line in page(view)),
                "",
                f"watched for {watched}; Ctrl-C ends watching, not the rollout",
            ]
            live.update(Text.from_ansi("\n".join(lines)), refresh=True)
