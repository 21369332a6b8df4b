"""The words for kinds on the command line, and the paths that they stand for.

Taken from the registry that server and client share, with the three core kinds that people ask for beside them.
"""

import difflib
from dataclasses import dataclass

from litefleet_controller.cli.errors import CliError
from litefleet_controller.resources.registry import KINDS


@dataclass(frozen=True, slots=True)
class CliKind:
    """A kind as the command line needs it."""

    kind: str
    plural: str
    singular: str
    api_version: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def root(self) -> str:
        """`/apis/GROUP/VERSION`, or `/api/v1`."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def collection(self, namespace: str | None) -> str:
        """Path of the collection; None is all namespaces."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        return f"{self.root}{inside}/{self.plural}"

    def object(self, namespace: str, name: str) -> str:
        """Path of one object."""
        return f"{self.collection(namespace)}/{name}"

    def reference(self, name: str) -> str:
        """`modelrollout.litefleet.dev/digits`, as kubectl prints it."""
        group, slash, _ = self.api_version.rpartition("/")
        return f"{self.singular}.{group}/{name}" if slash else f"{self.singular}/{name}"


KNOWN: tuple[CliKind, ...] = (
    *(CliKind(k.kind, k.plural, k.singular, k.api_version, k.short_names) for k in KINDS),
    CliKind("Namespace", "namespaces", "namespace", "v1", ("ns",), namespaced=False),
    CliKind("Event", "events", "event", "v1", ("ev",)),
)

_BY_WORD = {
    word: kind
    for kind in KNOWN
    for bare in (kind.plural, kind.singular, *kind.short_names)
    for word in (bare, f"{bare}.{kind.api_version.partition('/')[0]}")
}


def by_word(word: str) -> CliKind:
    """The kind that a person names: plural, singular, short name or Kind, in any case.

    Raises:
        CliError: `NotFound`, with what there is.
    """
    found = _BY_WORD.get(word.lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(word.lower(), list(_BY_WORD), n=1, cutoff=0.6)
    raise CliError(
        f"there is no kind {word[:60]!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        "NotFound",
        hint=f"known are {', '.join(k.plural for k in KNOWN)}",
    )


def by_manifest(api_version: object, kind: object, where: str) -> CliKind:
    """The kind that a manifest names.

    Raises:
        CliError: `Required` or `NotFound`, with what is served.
    """
    for field, value in (("apiVersion", api_version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            raise CliError(f"{where}: {field} is missing", "Required")
    found = next((k for k in KNOWN if (k.api_version, k.kind) == (api_version, kind)), None)
    if found is None or found.kind == "Event":
        served = ", ".join(f"{k.kind} ({k.api_version})" for k in KNOWN if k.kind != "Event")
        raise CliError(
            f"{where}: there is no kind {kind!r} in {api_version!r}", "NotFound", hint=f"served are {served}"
        )
    return found


def split_reference(kind_or_reference: str, names: list[str]) -> tuple[CliKind, list[str]]:
    """`model digits` and `model/digits` mean the same."""
    word, slash, name = kind_or_reference.partition("/")
    return by_word(word), [name, *names] if slash and name else names
