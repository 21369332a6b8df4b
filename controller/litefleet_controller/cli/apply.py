"""`litefleet apply` and `litefleet delete -f`: all documents are tried before the first is applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from litefleet_controller.cli.client import Client, Json
from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.lastapplied import LAST_APPLIED, remembered, three_way, with_memory
from litefleet_controller.cli.manifests import Document

STRICT = {"fieldValidation": "Strict", "fieldManager": "litefleet"}
DRY_RUN = {**STRICT, "dryRun": "All"}
_TRIES = 5

Outcome = Literal["created", "configured", "unchanged"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a document."""

    document: Document
    outcome: Outcome
    body: Json


def apply(client: Client, documents: Sequence[Document], *, dry_run: bool) -> list[Applied]:
    """Try all, then apply all; the outcomes in order.

    Raises:
        CliError: nothing was applied when the trial fails; its message names the document.
    """
    trial = _try_all(client, documents)
    return trial if dry_run else [_located(client, d, STRICT) for d in documents]


def _try_all(client: Client, documents: Sequence[Document]) -> list[Applied]:
    tried: list[Applied] = []
    made: set[str] = set()
    for document in documents:
        if document.namespace in made:
            # Its namespace is made by this very manifest, so the server can't try it yet: check what needs no server.
            _admit(document)
            tried.append(Applied(document, "created", document.body))
            continue
        tried.append(_located(client, document, DRY_RUN))
        if document.kind.kind == "Namespace" and tried[-1].outcome == "created":
            made.add(document.name)
    return tried


def _located(client: Client, document: Document, params: dict[str, str]) -> Applied:
    try:
        return _apply_one(client, document, params)
    except CliError as e:
        if e.http_status is None:
            raise
        raise CliError(f"{document.where}: {e}", e.code, hint=e.hint, causes=e.causes, http_status=e.http_status) from e


def _apply_one(client: Client, document: Document, params: dict[str, str]) -> Applied:
    """Create or patch; again when somebody else was faster."""
    wanted = with_memory(document.body, document.namespace)
    for attempt in range(_TRIES):
        live = _live(client, document)
        try:
            if live is None:
                made = client.post(document.kind.collection(document.namespace), wanted, params=params)
                return Applied(document, "created", made)
            return _patch(client, document, wanted, live, params)
        except CliError as e:
            raced = e.code == "AlreadyExists" if live is None else e.http_status == 404
            if not raced or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _live(client: Client, document: Document) -> Json | None:
    try:
        return client.get(document.path)
    except CliError as e:
        if e.http_status == 404:
            return None
        raise


def _patch(client: Client, document: Document, wanted: Json, live: Json, params: dict[str, str]) -> Applied:
    if not document.kind.namespaced:
        # Namespaces are made and read; there is nothing in them to change.
        return Applied(document, "unchanged", live)
    patch = three_way(remembered(live), wanted, live)
    if not patch:
        return Applied(document, "unchanged", live)
    after = client.patch(document.path, patch, params=params)
    moved = "dryRun" in params or after["metadata"].get("resourceVersion") != live["metadata"].get("resourceVersion")
    return Applied(document, "configured" if moved else "unchanged", after)


def _admit(document: Document) -> None:
    from litefleet_controller.resources.admission import InvalidError, admit, prune
    from litefleet_controller.resources.registry import Registry

    kind = Registry().kind(document.kind.kind)
    if kind is None:
        return
    body, unknown = prune(kind, document.body)
    for field in unknown:
        near = f"; did you mean {field.nearest!r}?" if field.nearest else ""
        raise CliError(f"{document.where}: unknown field {field.path!r}{near}", "UnknownField")
    try:
        admit(kind, body, None)
    except InvalidError as e:
        raise CliError(f"{document.where}: {e}", e.causes[0].code or "Invalid") from e


def shown(applied: Applied, *, dry_run: bool) -> str:
    """The line for a document, in kubectl's words."""
    return f"{applied.document.reference} {applied.outcome}" + (" (dry run)" if dry_run else "")


def without_memory(body: Json) -> Json:
    """An object without the annotation that only programs read."""
    metadata = body.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    kept = {k: v for k, v in metadata.items() if k != "annotations"}
    return {**body, "metadata": {**kept, **({"annotations": annotations} if annotations else {})}}
