"""`litefleet device token create`: what a board needs to join."""

from typing import Annotated

import typer

from litefleet_controller.cli.session import connected, current

app = typer.Typer(no_args_is_help=True, help="Boards: how they join.")
token = typer.Typer(no_args_is_help=True, help="Enrollment tokens, each good for one board.")
app.add_typer(token, name="token")

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@token.command()
@connected
def create(
    context: typer.Context,
    ttl: Annotated[str, typer.Option(help="How long it may be used, e.g. 30m or 24h.")] = "1h",
    url: Annotated[
        str | None,
        typer.Option(help="The controller's address as boards reach it; the kubeconfig's server by default."),
    ] = None,
) -> None:
    """Make a single-use token and print it; on the board: litefleet-agent enroll --token TOKEN."""
    from urllib.parse import urlsplit

    from litefleet_controller.cli.printing import note
    from litefleet_controller.cli.rollouts import seconds

    lifetime = seconds(ttl, "--ttl")
    with current(context) as session:
        address = url or session.client.target.server
        answer = session.client.post(session.fleet("devicetokens"), {"ttlSeconds": lifetime, "url": address})
    print(answer["token"])
    if urlsplit(address).hostname in _LOOPBACK:
        note(f"this token leads to {address}, which only boards on this machine reach; name another address with --url")
