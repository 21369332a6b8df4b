"""`litefleet logs`: what a board says happened on it, as `kubectl logs` does for a pod."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litefleet_controller.cli.session import connected, current

if TYPE_CHECKING:
    from litefleet_controller.cli.client import Client

Json = dict[str, Any]
_AGAIN_S = 1.0
"""Between two tries when a stream that is followed broke: the controller may be restarting."""


@connected
def logs(
    context: typer.Context,
    device: Annotated[str, typer.Argument(help="The Device: NAME or device/NAME.", show_default=False)],
    tail: Annotated[int, typer.Option(help="Only the last so many lines; -1 for all that are kept.")] = -1,
    since: Annotated[str | None, typer.Option(help="Only what happened in the last 10m, 2h, ...")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print a board's log: what its agent did, oldest line first. Boards that are offline send theirs later."""
    import json
    from datetime import UTC, datetime, timedelta
    from urllib.parse import quote

    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.cli.printing import note
    from litefleet_controller.cli.rollouts import seconds

    kind, slash, name = device.rpartition("/")
    if slash and kind not in ("device", "devices", "device.litefleet.dev"):
        raise UsageError(f"{device!r}: only devices have logs")
    if tail < -1:
        raise UsageError(f"--tail {tail}: use a number of lines, or -1 for all")
    params = {} if tail == -1 else {"tail": str(tail)}
    if since is not None:
        params["since"] = (datetime.now(UTC) - timedelta(seconds=seconds(since, "--since"))).isoformat()
    printed = False
    with current(context) as session:
        path = session.fleet(f"devices/{quote(name, safe='')}/log")
        entries = _followed(session.client, path, params) if follow else _kept(session.client, path, params)
        for entry in entries:
            print(json.dumps(entry, ensure_ascii=False) if as_json else line(entry), flush=True)
            printed = True
    if not printed:
        note(f"no log of {name!r}" + (f" in the last {since}" if since else ""))


def line(entry: Json) -> str:
    """One entry for people. A time with a `~` is that of its arrival: the board's clock was wrong."""
    from litefleet_protocol.logline import text

    doubt = "" if entry["clockTrusted"] else "~"
    return f"{doubt}{entry['at']} {entry['level'].upper():<7} {text(entry['event'], entry['fields'])}"


def _kept(client: "Client", path: str, params: dict[str, str]) -> Iterator[Json]:
    yield from client.get(path, params=params)["items"]


def _followed(client: "Client", path: str, params: dict[str, str]) -> Iterator[Json]:
    """The log as it grows; when the stream ends, on from the last line. Ends when the server refuses."""
    from litefleet_controller.cli.errors import CliError

    last: str | None = None
    while True:
        asked = params if last is None else {"after": last}
        try:
            for entry in client.lines(path, params={**asked, "follow": "true"}):
                last = str(entry["id"])
                yield entry
        except CliError as e:
            if last is None or e.code not in ("Unreachable", "Timeout"):
                raise
        time.sleep(_AGAIN_S)
