"""Namespaces over HTTP: get, list, create. A namespace is a tenant; deleting one isn't served."""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api import metadata
from litefleet_controller.api.bodies import read_object
from litefleet_controller.api.core import NAMESPACES
from litefleet_controller.api.interface import ApiDependencies, Namespace, Namespaces
from litefleet_controller.api.options import write_options
from litefleet_controller.api.paths import look_up
from litefleet_controller.api.reading import created
from litefleet_controller.api.target import Target
from litefleet_controller.api.writing import check_identity
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.meta import label_holds
from litefleet_controller.resources.values import shown
from litefleet_controller.resources.wording import label_faults
from litefleet_controller.store.interface import (
    Event,
    FieldRequirement,
    Key,
    Objects,
    Page,
    Query,
    Record,
)


class NamespaceReader:
    """Namespaces as a `Reader`. There are few, so selectors are applied here."""

    def __init__(self, namespaces: Namespaces, objects: Objects) -> None:
        self._namespaces = namespaces
        self._objects = objects

    async def get(self, key: Key) -> Record:
        """Raises: NotFoundError."""
        return _record(await self._namespaces.get(key.name))

    async def list(self, query: Query) -> Page:
        """A page."""
        found = [r for r in map(_record, await self._namespaces.list()) if _matches(r, query)]
        if query.after is not None:
            found = [r for r in found if r.key.name > query.after[1]]
        page = found[: query.limit] if query.limit else found
        return Page(page, await self.resource_version(), len(found) - len(page))

    def watch(self, query: Query, since: int | None) -> AsyncIterator[Event]:
        """As the objects' watch; the API doesn't offer it for namespaces."""
        return self._objects.watch(query, since)

    async def resource_version(self) -> int:
        """The newest one."""
        return await self._objects.resource_version()


def _record(namespace: Namespace) -> Record:
    """In core/v1 form. Namespaces never change, hence their version is always the same."""
    labels = {"kubernetes.io/metadata.name": namespace.name}
    metadata = {
        "name": namespace.name,
        "uid": namespace.uid,
        "resourceVersion": "1",
        "creationTimestamp": namespace.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "labels": labels,
    }
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    return Record(Key("Namespace", "", namespace.name), namespace.uid, 1, 1, labels, msgspec.json.encode(body))


def _matches(record: Record, query: Query) -> bool:
    return all(label_holds(r.operator, r.values, record.labels.get(r.key)) for r in query.labels) and all(
        _field_holds(record, r) for r in query.fields
    )


def _field_holds(record: Record, requirement: FieldRequirement) -> bool:
    return (look_up(record.json(), f".{requirement.path}") == requirement.value) is requirement.equal


async def create(request: Request, target: Target, deps: ApiDependencies) -> Response:
    """POST; kubectl sends it as protobuf."""
    options = write_options("CreateOptions", request.query_params, request.headers.get("user-agent", ""))
    decoded = await read_object(request, with_protobuf=True)
    body = decoded.value
    check_identity(NAMESPACES, body, target, whole=True)
    known, _ = metadata.checked(body.get("metadata"))
    name = known.get("name") or ""
    try:
        namespace = await deps.namespaces.create(name, dry_run=options.dry_run)
    except ValueError as e:
        faults = ", ".join(label_faults(name))
        text = f"Invalid value: {shown(name[:253])}: {faults}" if name else "Required value: name is required"
        reason: Literal["FieldValueInvalid", "FieldValueRequired"]
        reason = "FieldValueInvalid" if name else "FieldValueRequired"
        raise InvalidError("Namespace", name, [Cause("metadata.name", reason, text, "InvalidName")]) from e
    return created(request, NAMESPACES, _record(namespace), deps, ())
