"""Objects as bytes in the form that was agreed on.

Lists of whole objects join the stored bytes and decode nothing. Table rows and PartialObjectMetadata lift `metadata`
out undecoded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import yaml

from litefleet_controller.api.ages import age_of
from litefleet_controller.api.errors import bad_request
from litefleet_controller.api.negotiate import Form
from litefleet_controller.api.paths import look_up
from litefleet_controller.api.served import Served
from litefleet_controller.resources.kind import Column
from litefleet_controller.store.interface import Page, Record


class _MetadataOnly(msgspec.Struct):
    metadata: msgspec.Raw


_decode_metadata = msgspec.json.Decoder(_MetadataOnly).decode
_COLUMN = "Custom resource definition column (in JSONPath format)"
_NAME = Column(
    "Name",
    ".metadata.name",
    description=(
        "Name must be unique within a namespace. Is required when creating resources, although some resources may "
        "allow a client to request the generation of an appropriate name automatically. Name is primarily intended for "
        "creation idempotence and configuration definition. Cannot be updated. More info: "
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
    ),
)


@dataclass(frozen=True, slots=True)
class ListMeta:
    """metadata of a list."""

    resource_version: int
    continue_: str = ""
    remaining: int | None = None

    def json(self) -> dict[str, Any]:
        """As Kubernetes writes it for custom resources: `continue` always, remainingItemCount when known."""
        members: dict[str, Any] = {"continue": self.continue_, "resourceVersion": str(self.resource_version)}
        if self.remaining is not None:
            members["remainingItemCount"] = self.remaining
        return members


def include_object(value: str) -> str:
    """The query parameter includeObject.

    Raises:
        ApiError: 400, naming the values.
    """
    if value not in ("", "None", "Metadata", "Object"):
        raise bad_request(
            "Unable to convert to Table as requested: includeObject: "
            f"Invalid value: \"{value[:60]}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    return value or "Metadata"


@dataclass(frozen=True, slots=True)
class Renderer:
    """Writes one resource's objects in one form."""

    served: Served
    form: Form
    include: str
    clock: Callable[[], datetime]
    """For ages: a watch writes rows long after it began."""

    def one(self, record: Record) -> bytes:
        """A single object."""
        match self.form.shape:
            case "table":
                return self.table([record], ListMeta(record.resource_version), columns=True)
            case "partial":
                return self._partial(record)
            case "object":
                return as_yaml(record.body) if self.form.yaml else record.body

    def many(self, page: Page, meta: ListMeta) -> bytes:
        """A list."""
        match self.form.shape:
            case "table":
                return self.table(page.records, meta, columns=True)
            case "partial":
                items = [self._partial(r) for r in page.records]
                version = f"meta.k8s.io/{self.form.meta_version}"
                return _list("PartialObjectMetadataList", version, items, meta.json())
            case "object":
                body = _list_of(self.served, page.bodies(), meta)
                return as_yaml(body) if self.form.yaml else body

    def table(self, records: Sequence[Record], meta: ListMeta, *, columns: bool) -> bytes:
        """A Table; within a watch only the first one carries the columns' definitions."""
        members = {k: v for k, v in meta.json().items() if v != ""}
        return msgspec.json.encode(
            {
                "kind": "Table",
                "apiVersion": f"meta.k8s.io/{self.form.meta_version}",
                "metadata": members,
                "columnDefinitions": _definitions(self.served) if columns else None,
                "rows": [self._row(r) for r in records],
            }
        )

    def empty_cells(self) -> list[Any]:
        """A row of nothing: of a BOOKMARK, which is about no object."""
        return [None if column.type == "date" else "" for column in _columns(self.served)]

    def _row(self, record: Record) -> dict[str, Any]:
        body, now = msgspec.json.decode(record.body), self.clock()
        if self.served.cells is not None:
            cells = self.served.cells(body, now)
        else:
            cells = [record.key.name, *(_cell(body, column, now) for column in self.served.columns)]
        row: dict[str, Any] = {"cells": cells}
        if self.include == "Object":
            row["object"] = msgspec.Raw(record.body)
        elif self.include == "Metadata":
            row["object"] = msgspec.Raw(self._partial(record))
        else:
            row["object"] = None
        return row

    def _partial(self, record: Record) -> bytes:
        return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%s","metadata":%s}' % (
            self.form.meta_version.encode(),
            bytes(_decode_metadata(record.body).metadata),
        )


def as_yaml(body: bytes) -> bytes:
    """JSON as YAML with sorted keys."""
    text: str = yaml.safe_dump(msgspec.json.decode(body), sort_keys=True, allow_unicode=True)
    return text.encode()


def _list_of(served: Served, items: Sequence[bytes], meta: ListMeta) -> bytes:
    if served.model is None or not served.model.builtin:
        return _list(f"{served.kind}List", served.api_version, items, meta.json())
    # Kubernetes' own kinds don't repeat in each item what the list says already.
    head = msgspec.json.encode({"apiVersion": served.api_version, "kind": served.kind})[:-1] + b","
    bare = [b"{" + item.removeprefix(head) if item.startswith(head) else item for item in items]
    members = {k: v for k, v in meta.json().items() if v != ""}
    return _list(f"{served.kind}List", served.api_version, bare, members)


def _list(kind: str, api_version: str, items: Sequence[bytes], meta: dict[str, Any]) -> bytes:
    return b'{"apiVersion":"%s","items":[%s],"kind":"%s","metadata":%s}' % (
        api_version.encode(),
        b",".join(items),
        kind.encode(),
        msgspec.json.encode(meta),
    )


def _columns(served: Served) -> tuple[Column, ...]:
    return served.columns if served.cells is not None else (_NAME, *served.columns)


def _definitions(served: Served) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.json_path == _NAME.json_path else "",
            "description": column.description
            or (_NAME.description if column.json_path == _NAME.json_path else "")
            or f"Custom resource definition column (in JSONPath format): {column.json_path}",
            "priority": column.priority,
        }
        for column in _columns(served)
    ]


def _cell(body: dict[str, Any], column: Column, now: datetime) -> Any:
    value = look_up(body, column.json_path)
    if value is None:
        return None
    match column.type:
        case "date":
            return age_of(value, now)
        case "string" if not isinstance(value, str):
            return msgspec.json.encode(value).decode()
        case _:
            return value
