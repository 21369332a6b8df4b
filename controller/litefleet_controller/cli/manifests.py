"""Manifests from files, folders and standard input, as the documents that a person wrote, each with its place.

Everything is read and understood before anything is sent.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.kinds import CliKind, by_manifest
from litefleet_controller.resources.manifest import ManifestError, parse_documents

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest."""

    where: str
    """File and position, for messages."""
    kind: CliKind
    namespace: str | None
    """None for kinds outside of namespaces."""
    name: str
    body: dict[str, Any]

    @property
    def path(self) -> str:
        """The object's path in the API."""
        return self.kind.object(self.namespace or "", self.name)

    @property
    def reference(self) -> str:
        """As shown to people."""
        return self.kind.reference(self.name)


def read(sources: Sequence[str], namespace: str | None, default_namespace: str) -> list[Document]:
    """Every document of every source, in order. `namespace` is what the person named, if anything.

    Raises:
        CliError: for the first document that can't be understood.
    """
    documents: list[Document] = []
    for name, text in _texts(sources):
        try:
            bodies = parse_documents(text, source_name=name)
        except ManifestError as e:
            raise CliError(str(e), e.code, hint=e.hint) from e
        flat = [item for body in bodies for item in _items(body)]
        several = len(flat) > 1
        documents += [
            _document(f"{name}, document {i}" if several else name, body, namespace, default_namespace)
            for i, body in enumerate(flat, 1)
        ]
    if not documents:
        raise CliError(
            f"there is no manifest in {', '.join(sources)}", "EmptyDocument", hint=f"files end in {', '.join(SUFFIXES)}"
        )
    return documents


def _texts(sources: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for source in sources:
        if source == "-":
            yield "standard input", sys.stdin.buffer.read()
            continue
        path = Path(source)
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                yield str(file), file.read_bytes()
            except OSError as e:
                raise CliError(f"{str(file)!r} can't be read: {e.strerror}", "NotFound") from e


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of a `kind: List`, as `litefleet get -o yaml` prints it; else the document itself."""
    if body.get("kind") == "List" and isinstance(body.get("items"), list):
        return [i for i in body["items"] if isinstance(i, dict)]
    return [body]


def _document(where: str, body: dict[str, Any], wanted: str | None, default: str) -> Document:
    kind = by_manifest(body.get("apiVersion"), body.get("kind"), where)
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise CliError(f"{where}: metadata.name is missing", "Required")
    name = metadata["name"]
    if "/" in name or name in (".", ".."):
        raise CliError(f"{where}: metadata.name: {name[:80]!r} is no name", "InvalidName")
    if not kind.namespaced:
        return Document(where, kind, None, name, body)
    stated = metadata.get("namespace")
    if stated is not None and not isinstance(stated, str):
        raise CliError(f"{where}: metadata.namespace must be a string", "TypeError")
    if wanted and stated and wanted != stated:
        raise CliError(f"{where}: metadata.namespace is {stated!r}, but --namespace is {wanted!r}", "BadRequest")
    return Document(where, kind, stated or wanted or default, name, body)
