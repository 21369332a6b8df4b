"""Compose, by hand: the `litefleet` command. It starts a controller, or talks to the API of one.

Importing this must stay cheap (no FastAPI, no SQLAlchemy, no TensorFlow, no HTTP client): every command imports what it
needs when it runs. All errors end in `main`: one line on stderr, exit code 1, or 2 for wrong usage; never a traceback.

The server is taken from a kubeconfig, see `cli.kubeconfig`: --kubeconfig, $LITEFLEET_KUBECONFIG, $KUBECONFIG,
./litefleet-data/kubeconfig.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from litefleet_controller.cli import conversions, devices, explaining, logs, models, observing, rollouts, targets
from litefleet_controller.cli.demo import demo
from litefleet_controller.cli.errors import CliError, UsageError
from litefleet_controller.cli.session import Kubeconfig, Namespace, Options, connected, current
from litefleet_controller.cli.up import up

app = typer.Typer(
    name="litefleet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Machine-learning models on fleets of small boards: declare, convert, roll out, observe, take back.",
)

Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In every namespace.")]
Files = Annotated[
    list[str] | None, typer.Option("--filename", "-f", help="A file, a folder, or - for standard input. Repeatable.")
]
Kind = Annotated[str, typer.Argument(help="A kind: plural, singular or short name; or KIND/NAME.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="Names; all by default.", show_default=False)]


@app.callback()
def options(context: typer.Context, kubeconfig: Kubeconfig = None, namespace: Namespace = None) -> None:
    """Options that every command shares."""
    context.obj = Options(kubeconfig, namespace)


@app.command()
@connected
def apply(
    context: typer.Context,
    filename: Files = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the server check everything, change nothing.")
    ] = False,
) -> None:
    """Make the fleet as the manifests say. Every document is tried before the first one is applied."""
    from litefleet_controller.cli.apply import apply as run
    from litefleet_controller.cli.apply import shown
    from litefleet_controller.cli.manifests import read

    if not filename:
        raise UsageError("name a manifest with -f")
    with current(context) as session:
        for applied in run(session.client, read(filename, session.stated, session.namespace), dry_run=dry_run):
            print(shown(applied, dry_run=dry_run))


@app.command()
@connected
def get(
    context: typer.Context,
    kind: Kind,
    names: Names = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table, wide, json, yaml or name.")] = "table",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.")] = "",
    field_selector: Annotated[str, typer.Option("--field-selector", help="Only objects with these fields.")] = "",
    everywhere: Everywhere = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on printing changes until interrupted.")] = False,
) -> None:
    """List objects, or show some by name."""
    from litefleet_controller.cli.kinds import split_reference
    from litefleet_controller.cli.reading import Format, Selection
    from litefleet_controller.cli.reading import get as show
    from litefleet_controller.cli.reading import watch as follow

    try:
        form = Format(output)
    except ValueError as e:
        raise UsageError(f"-o {output!r}: use {', '.join(Format)}") from e
    found, wanted = split_reference(kind, names or [])
    with current(context) as session:
        selection = Selection(found, None if everywhere else session.namespace, wanted, selector, field_selector)
        (follow if watch else show)(session.client, selection, form)


@app.command()
@connected
def describe(context: typer.Context, kind: Kind, names: Names = None) -> None:
    """Show one object as a person reads it, with its conditions and events."""
    from litefleet_controller.cli.describing import describe as lines
    from litefleet_controller.cli.kinds import split_reference
    from litefleet_controller.cli.printing import show

    found, wanted = split_reference(kind, names or [])
    if not wanted:
        raise UsageError("name what to describe: litefleet describe KIND NAME")
    with current(context) as session:
        for i, name in enumerate(wanted):
            show([*([""] if i else []), *lines(session.client, found, session.namespace, name)])


@app.command()
@connected
def delete(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="A kind, or KIND/NAME.", show_default=False)] = None,
    names: Names = None,
    filename: Files = None,
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="What is gone already is no error.")
    ] = False,
) -> None:
    """Delete objects by name, or those that manifests name."""
    from litefleet_controller.cli.deleting import delete_all
    from litefleet_controller.cli.deleting import targets as doomed

    if bool(kind) == bool(filename):
        raise UsageError("name either KIND NAME or a manifest with -f")
    with current(context) as session:
        delete_all(
            session.client, doomed(session, kind, names or [], filename or []), ignore_not_found=ignore_not_found
        )


@app.command()
def version() -> None:
    """Print this program's version."""
    from importlib.metadata import version as installed

    print(f"litefleet {installed('litefleet-controller')}")


app.add_typer(rollouts.app, name="rollout")
models.app.command("status")(conversions.status)
app.add_typer(models.app, name="model")
app.add_typer(devices.app, name="device")
app.add_typer(explaining.app, name="explain")
app.command()(observing.telemetry)
app.command()(logs.logs)
app.command()(targets.targets)
app.command()(up)
app.command()(demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run (`sys.argv` by default), and turn every refusal into one line and an exit code."""
    try:
        app(args=arguments)
    except CliError as e:
        print(f"error: {e.text()}", file=sys.stderr)
        sys.exit(2 if isinstance(e, UsageError) else 1)
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python's own last flush must not complain either.
        sys.stdout = None
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
