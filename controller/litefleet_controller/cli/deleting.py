"""`litefleet delete`: what is named is removed, or said to be waiting for its finalizers."""

from collections.abc import Sequence
from dataclasses import dataclass

from litefleet_controller.cli.client import Client
from litefleet_controller.cli.errors import CliError, UsageError
from litefleet_controller.cli.kinds import split_reference
from litefleet_controller.cli.manifests import read
from litefleet_controller.cli.session import Session


@dataclass(frozen=True, slots=True)
class Doomed:
    """One object to delete."""

    path: str
    reference: str


def targets(session: Session, kind: str | None, names: Sequence[str], files: Sequence[str]) -> list[Doomed]:
    """What to delete: named, or in manifests, there the last one first.

    Raises:
        CliError: nothing is named, or it can't be understood.
    """
    if kind is None:
        documents = read(files, session.stated, session.namespace)
        return [Doomed(d.path, d.reference) for d in reversed(documents)]
    found, wanted = split_reference(kind, list(names))
    if not wanted:
        raise UsageError("name what to delete: litefleet delete KIND NAME")
    return [Doomed(found.object(session.namespace, name), found.reference(name)) for name in wanted]


def delete_all(client: Client, doomed: Sequence[Doomed], *, ignore_not_found: bool) -> None:
    """Delete in order, and say so for each.

    Raises:
        CliError: the first refusal.
    """
    for item in doomed:
        try:
            answer = client.delete(item.path)
        except CliError as e:
            if ignore_not_found and e.http_status == 404:
                continue
            raise
        # With finalizers left the server answers with the object, not with a Status.
        waits = (answer.get("metadata") or {}).get("finalizers") if answer.get("kind") != "Status" else None
        print(f"{item.reference} deleted" + (f" (waits for {', '.join(waits)})" if waits else ""))
