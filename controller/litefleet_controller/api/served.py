"""What the API serves: the registry's kinds and the few of Kubernetes' own that clients can't do without.

Everything else in this package is generic over `Served`, so a new kind in the registry needs nothing here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from litefleet_controller.resources.kind import Column, Kind
from litefleet_controller.resources.registry import Registry

Verb = Literal["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
ALL_VERBS: tuple[Verb, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
KIND_VERBS: tuple[Verb, ...] = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""The same in the order in which an API server lists them for custom resources."""
STATUS_VERBS: tuple[Verb, ...] = ("get", "patch", "update")
Cells = Callable[[Mapping[str, Any], datetime], list[Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """One resource."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    verbs: tuple[Verb, ...]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    """Printer columns after the name; with `cells`, all of them."""
    cells: Cells | None = None
    """Fills the columns where JSON paths can't: (object, now) -> a value for each."""
    selectable_fields: frozenset[str] = frozenset({"metadata.name", "metadata.namespace"})
    model: Kind | None = None
    """Of the registry; None for what Kubernetes defines."""

    @property
    def subresources(self) -> tuple[str, ...]:
        """Parts of an object with a path of their own."""
        if self.model is None:
            return ()
        found = {"scale": self.model.scale is not None, "status": self.model.has_status}
        return tuple(name for name, there in found.items() if there)

    @property
    def api_version(self) -> str:
        """group/version, `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """plural.group, as error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Catalog:
    """Every resource, found by path or by kind."""

    def __init__(self, registry: Registry, core: tuple[Served, ...]) -> None:
        resources = [*core, *(of_kind(kind) for kind in registry)]
        self._by_path = {(s.group, s.version, s.plural): s for s in resources}
        self.by_kind: Mapping[str, Served] = {s.kind: s for s in resources}

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_path.values())

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """The resource at `/apis/group/version/…/plural`."""
        return self._by_path.get((group, version, plural))

    def versions(self) -> dict[tuple[str, str], list[Served]]:
        """Resources by (group, version), in the order in which they were declared."""
        found: dict[tuple[str, str], list[Served]] = {}
        for served in self:
            found.setdefault((served.group, served.version), []).append(served)
        return found


def of_kind(kind: Kind) -> Served:
    """The resource of a kind."""
    fields = {path.removeprefix(".") for path in kind.selectable_fields}
    return Served(
        kind.group,
        kind.version,
        kind.kind,
        kind.plural,
        kind.singular,
        ALL_VERBS if kind.builtin else KIND_VERBS,
        kind.namespaced,
        short_names=kind.short_names,
        categories=kind.categories,
        columns=kind.columns,
        selectable_fields=frozenset({"metadata.name", "metadata.namespace"} | fields),
        model=kind,
    )
