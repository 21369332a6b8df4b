"""`litefleet model status`: how far a version's conversion is, class by class, and how long it still takes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from litefleet_controller.cli.session import Session, connected, current

Json = dict[str, Any]
_LOOK_S = 1.0
_DECIDED = ("Ready", "PartlyRefused", "Refused", "Failed")
_BAD = ("Refused", "Failed")


@connected
def status(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The Model's name, or a ModelVersion's.", show_default=False)],
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Until every class is decided (exit code 0), or none has a variant (1)."),
    ] = False,
) -> None:
    """How far the newest version is for each class: stage, percent, and the time left where it is known."""
    import sys

    from litefleet_controller.cli.errors import CliError

    with current(context) as session:
        follow = _live if watch and sys.stdout.isatty() else _printed
        phase, message = follow(session, name, watch=watch)
    if watch and phase in _BAD:
        raise CliError(f"no class has a variant: {message}", phase)


def page(version: Json, now: datetime) -> list[str]:
    """A ModelVersion's conversion on one page."""
    from litefleet_controller.cli.printing import columns

    metadata, found = version["metadata"], version.get("status") or {}
    text = [
        f"Version:  {metadata['name']}",
        f"Phase:    {found.get('phase', 'Pending')}",
        f"Message:  {found.get('message') or '-'}",
    ]
    if found.get("classes"):
        text += [
            "",
            *columns(["Class", "State", "Stage", "Done", "Left", "Result"], [_row(c, now) for c in found["classes"]]),
        ]
    return text


def left(entry: Json, now: datetime) -> str:
    """How long an entry that converts still takes, in words."""
    if entry["state"] != "Converting":
        return ""
    if not entry.get("estimatedCompletion"):
        return "unknown"
    seconds = (datetime.fromisoformat(entry["estimatedCompletion"]) - now).total_seconds()
    if seconds <= 0:
        return "longer than before"
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"


def _row(entry: Json, now: datetime) -> tuple[str, ...]:
    converting = entry["state"] == "Converting"
    return (
        entry["deviceClass"],
        entry["state"],
        (entry.get("stage") or "") if converting else "",
        f"{entry.get('percent', 0)}%" if converting else "",
        left(entry, now),
        _result(entry),
    )


def _result(entry: Json) -> str:
    if entry["state"] != "Ready":
        return str(entry.get("code", ""))
    recipe = str((entry.get("variant") or {}).get("recipe", ""))
    choice = entry.get("choice")
    return f"{recipe}, picked for {choice['objective']}" if choice else recipe


def _printed(session: Session, name: str, *, watch: bool) -> tuple[str, str]:
    from litefleet_controller.cli.printing import show

    said: list[str] = []
    for version in _versions(session, name):
        text = page(version, datetime.now(UTC))
        if text != said:
            show(text if not said else ["", *text])
        said = text
        phase, message = _standing(version)
        if not watch or phase in _DECIDED:
            break
    return phase, message


def _live(session: Session, name: str, *, watch: bool) -> tuple[str, str]:
    from rich.live import Live
    from rich.text import Text

    from litefleet_controller.cli.printing import coloured

    with Live(auto_refresh=False, vertical_overflow="crop") as live:
        for version in _versions(session, name):
            text = "\n".join(coloured(line) for line in page(version, datetime.now(UTC)))
            live.update(Text.from_ansi(text), refresh=True)
            phase, message = _standing(version)
            if not watch or phase in _DECIDED:
                break
    return phase, message


def _standing(version: Json) -> tuple[str, str]:
    found = version.get("status") or {}
    return str(found.get("phase", "Pending")), str(found.get("message", ""))


def _versions(session: Session, name: str) -> Iterator[Json]:
    """The version again and again; of a Model the newest, which may change meanwhile."""
    while True:
        yield _version(session, name)
        time.sleep(_LOOK_S)


def _version(session: Session, name: str) -> Json:
    from litefleet_controller.cli.errors import CliError
    from litefleet_controller.cli.kinds import by_word

    models, versions = by_word("models"), by_word("modelversions")
    try:
        model: Json = session.client.get(models.object(session.namespace, name))
    except CliError as e:
        if e.http_status != 404:
            raise
        found: Json = session.client.get(versions.object(session.namespace, name))
        return found
    latest = ((model.get("status") or {}).get("latestVersion") or {}).get("name")
    if latest is None:
        conditions = (model.get("status") or {}).get("conditions") or []
        waits = next((c.get("message", "") for c in conditions if c.get("type") == "Ready"), "")
        return {
            "metadata": {"name": "-"},
            "status": {"phase": "Pending", "message": waits or "no version was made yet"},
        }
    newest: Json = session.client.get(versions.object(session.namespace, latest))
    return newest
