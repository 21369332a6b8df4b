"""Which server a command talks to, and in which namespace: two options that every such command has.

They may stand before or after the command's name, as with kubectl; the later one wins.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from litefleet_controller.cli.client import Client

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The namespace; the kubeconfig's by default.", show_default=False),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Default: $LITEFLEET_KUBECONFIG, then $KUBECONFIG, then ./litefleet-data/kubeconfig.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """What a person said, None where nothing."""

    kubeconfig: Path | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A connection and a namespace."""

    client: "Client"
    namespace: str
    """To work in: named by the person, or the context's."""
    stated: str | None
    """The namespace that the person named, if any."""

    def fleet(self, rest: str) -> str:
        """A path of the fleet API below the namespace."""
        return f"/fleet/v1/namespaces/{self.namespace}/{rest}"


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is `context`, the two options; `current(context)` finds them."""

    @functools.wraps(function)
    def command(
        context: typer.Context, *args: Any, namespace: str | None = None, kubeconfig: Path | None = None, **kwargs: Any
    ) -> None:
        before = context.find_object(Options) or Options()
        context.obj = Options(kubeconfig or before.kubeconfig, namespace or before.namespace)
        function(context, *args, **kwargs)

    own = inspect.signature(function)
    added = [
        inspect.Parameter("namespace", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Namespace),
        inspect.Parameter("kubeconfig", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Kubeconfig),
    ]
    # Typer reads a command's options from these two.
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, "namespace": Namespace, "kubeconfig": Kubeconfig}
    return command


@contextmanager
def current(context: typer.Context) -> Iterator[Session]:
    """The session of the running command.

    Raises:
        CliError: no kubeconfig, or one that can't be read.
    """
    from litefleet_controller.cli.client import Client
    from litefleet_controller.cli.kubeconfig import load

    options = context.find_object(Options) or Options()
    target = load(options.kubeconfig, options.namespace)
    with Client(target) as client:
        yield Session(client, target.namespace, options.namespace)
