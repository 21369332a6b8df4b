"""Objects as reconcilers want them: spec and status as the kind's models."""

import json
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from litefleet_controller.resources.meta import ObjectMeta, Part, Status
from litefleet_controller.store.interface import Json, Key, Objects, Record

SpecT = TypeVar("SpecT", bound=Part)
StatusT = TypeVar("StatusT", bound=Status)


@dataclass(frozen=True, slots=True)
class Resource(Generic[SpecT, StatusT]):
    """An object, decoded. An absent status is the kind's empty one."""

    key: Key
    meta: ObjectMeta
    spec: SpecT
    status: StatusT
    record: Record


def read(record: Record, spec: type[SpecT], status: type[StatusT]) -> Resource[SpecT, StatusT]:
    """`record` with its spec and status as these models, e.g. `read(record, ModelSpec, ModelStatus)`.

    Fields that this version doesn't know are passed over: another version wrote them, before an upgrade or a way back.

    Raises:
        pydantic.ValidationError: another version of litefleet wrote what this one can't read.
    """
    body: Json = json.loads(record.body)
    return Resource(
        key=record.key,
        meta=ObjectMeta.model_validate(body["metadata"]),
        spec=spec.model_validate(body.get("spec") or {}, extra="ignore"),
        status=status.model_validate(body.get("status") or {}, extra="ignore"),
        record=record,
    )


async def write_status(
    objects: Objects, resource: Resource[SpecT, StatusT], status: StatusT
) -> Resource[SpecT, StatusT]:
    """Replace the status; nothing is written when it is equal. A concurrent change of the spec doesn't matter.

    Raises:
        NotFoundError: the object is gone.
        InvalidError: the status doesn't fit the kind.
    """
    dumped = status.dump()

    def change(body: Json) -> Json | None:
        return None if body.get("status") == dumped else {**body, "status": dumped}

    record = await objects.mutate(resource.key, change, subresource="status")
    return cast("Resource[SpecT, StatusT]", read(record, type(resource.spec), type(resource.status)))
