"""`litefleet get`: tables as the server makes them, whole objects as JSON or YAML, and watching either."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from litefleet_controller.cli.client import TABLE, Client, Json
from litefleet_controller.cli.errors import CliError, UsageError
from litefleet_controller.cli.kinds import CliKind
from litefleet_controller.cli.printing import as_yaml, columns, note, show

PAGE = 500


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for. `namespace` None means all."""

    kind: CliKind
    namespace: str | None
    names: list[str] = field(default_factory=list)
    labels: str = ""
    fields: str = ""

    def params(self) -> dict[str, str]:
        """As query parameters of a list."""
        chosen = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {k: v for k, v in chosen.items() if v}

    def paths(self) -> list[str]:
        """One path for each name, or the collection's."""
        if not self.names:
            return [self.kind.collection(self.namespace)]
        if self.namespace is None:
            raise UsageError("a name and --all-namespaces contradict each other")
        return [self.kind.object(self.namespace, name) for name in self.names]


def get(client: Client, selection: Selection, form: Format) -> None:
    """Print what is selected."""
    if form in (Format.TABLE, Format.WIDE):
        tables = [t for path in selection.paths() for t in _pages(client, path, selection.params(), TABLE)]
        rows = [row for table in tables for row in table.get("rows") or []]
        if not rows:
            where = f" in namespace {selection.namespace}" if selection.namespace and selection.kind.namespaced else ""
            note(f"no {selection.kind.plural} found{where}")
            return
        show(_table(selection, next(t["columnDefinitions"] for t in tables if t.get("columnDefinitions")), rows, form))
        return
    answers = [a for path in selection.paths() for a in _pages(client, path, selection.params(), "application/json")]
    items = answers if selection.names else [_typed(i, selection.kind) for a in answers for i in a.get("items") or []]
    if form is Format.NAME:
        show(selection.kind.reference(i["metadata"]["name"]) for i in items)
        return
    items = [_without_managers(i) for i in items]
    single = len(selection.names) == 1
    whole: Json = items[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
    print(json.dumps(whole, indent=2, ensure_ascii=False) if form is Format.JSON else as_yaml(whole))


def _without_managers(item: Json) -> Json:
    """As kubectl shows an object: who owns which field is for programs."""
    metadata = item.get("metadata") or {}
    return {**item, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}


def watch(client: Client, selection: Selection, form: Format) -> None:
    """Print what is selected, and then every change until interrupted."""
    if form not in (Format.TABLE, Format.WIDE, Format.NAME):
        raise UsageError("--watch prints tables or names; use -o table, wide or name")
    if len(selection.names) > 1:
        raise UsageError("--watch takes one name at most")
    _Watching(client, selection, form).run()


class _Watching:
    """A list, then a watch from where it was read, again and again; a row is printed once for each state it was in."""

    def __init__(self, client: Client, selection: Selection, form: Format) -> None:
        self._client = client
        self._selection = selection
        self._form = form
        self._params = selection.params()
        self._definitions: list[Json] = []
        self._seen: set[str] = set()
        self._headed = False

    def run(self) -> None:
        if self._selection.names:
            self._client.get(self._selection.paths()[0])  # says so when there is no such object
            named = f"metadata.name={self._selection.names[0]}"
            self._params["fieldSelector"] = ",".join(filter(None, [self._selection.fields, named]))
        path = self._selection.kind.collection(self._selection.namespace)
        while True:
            try:
                version = self._list(path)
                while True:
                    version = self._follow(path, version)
            except CliError as e:
                # Too far behind: list anew. What was printed already isn't printed again.
                if e.code not in ("Expired", "Gone"):
                    raise

    def _list(self, path: str) -> str:
        version = ""
        for table in _pages(self._client, path, self._params, TABLE):
            version = str((table.get("metadata") or {}).get("resourceVersion") or version)
            self._print(table)
        return version

    def _follow(self, path: str, version: str) -> str:
        """Print events until the server ends the watch; the version to go on from."""
        params = {**self._params, "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        for event in self._client.lines(path, params=params, accept=TABLE):
            table = event.get("object") or {}
            version = str((table.get("metadata") or {}).get("resourceVersion") or version)
            for row in table.get("rows") or []:
                version = str(row["object"]["metadata"].get("resourceVersion") or version)
            if event.get("type") != "BOOKMARK":
                self._print(table)
        return version

    def _print(self, table: Json) -> None:
        self._definitions = table.get("columnDefinitions") or self._definitions
        rows = [r for r in table.get("rows") or [] if _stamp(r) not in self._seen]
        self._seen.update(_stamp(r) for r in rows)
        if self._form is Format.NAME:
            show(self._selection.kind.reference(r["object"]["metadata"]["name"]) for r in rows)
        elif rows:
            show(_table(self._selection, self._definitions, rows, self._form, with_headers=not self._headed))
            self._headed = True


def _pages(client: Client, path: str, params: dict[str, str], accept: str) -> Iterator[Json]:
    token = ""
    while True:
        page = client.get(
            path, params={**params, "limit": str(PAGE), **({"continue": token} if token else {})}, accept=accept
        )
        yield page
        token = str((page.get("metadata") or {}).get("continue") or "")
        if not token:
            return


def _table(
    selection: Selection, definitions: list[Json], rows: list[Json], form: Format, *, with_headers: bool = True
) -> list[str]:
    visible = [i for i, d in enumerate(definitions) if form is Format.WIDE or not d.get("priority")]
    headers = [str(definitions[i]["name"]) for i in visible]
    cells: list[list[Any]] = [[row["cells"][i] for i in visible] for row in rows]
    if selection.namespace is None and selection.kind.namespaced:
        headers = ["Namespace", *headers]
        cells = [[row["object"]["metadata"].get("namespace", ""), *c] for row, c in zip(rows, cells, strict=True)]
    return columns(headers, cells, with_headers=with_headers)


def _stamp(row: Json) -> str:
    metadata = row["object"]["metadata"]
    return f"{metadata.get('uid')}/{metadata.get('resourceVersion')}"


def _typed(item: Json, kind: CliKind) -> Json:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **item}
