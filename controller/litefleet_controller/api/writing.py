"""POST, PUT, PATCH and DELETE for the registry's kinds.

The body is checked against the path, pruned by the kind's fields and handed to the store, which admits it and owns all
semantics of versions, generations and finalizers.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api import metadata
from litefleet_controller.api.bodies import (
    MERGE_PATCH,
    PATCH_TYPES,
    Decoded,
    decode_json,
    media_type,
    read,
    read_object,
)
from litefleet_controller.api.errors import (
    ApiError,
    StatusCause,
    bad_request,
    method_not_allowed,
    unsupported_media_type,
)
from litefleet_controller.api.fields import accept
from litefleet_controller.api.forms import ListMeta, Renderer
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.negotiate import Form, negotiate
from litefleet_controller.api.options import delete_options, list_options, write_options
from litefleet_controller.api.reading import answer, created, written
from litefleet_controller.api.served import Served
from litefleet_controller.api.target import Target
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.registry import Kind
from litefleet_controller.store.errors import NotFoundError, PatchError
from litefleet_controller.store.interface import Deletion, Key, Patch, Subresource


async def create(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """POST to a collection."""
    negotiate(request.headers.get("accept"))
    options = write_options("CreateOptions", request.query_params)
    decoded = await read_object(request)
    check_identity(served, decoded.value, target, whole=True)
    accepted = accept(_kind(served), decoded, options.validation)
    if accepted.body["metadata"].get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    accepted.body["metadata"]["namespace"] = target.namespace
    record = await deps.objects.create(accepted.body, dry_run=options.dry_run)
    return created(request, served, record, deps, accepted.warnings)


async def update(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """PUT on an object or its status."""
    negotiate(request.headers.get("accept"))
    options = write_options("UpdateOptions", request.query_params)
    decoded = await read_object(request)
    check_identity(served, decoded.value, target, whole=True)
    accepted = accept(_kind(served), decoded, options.validation)
    if not accepted.body["metadata"].get("name"):
        raise bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    accepted.body["metadata"]["namespace"] = target.namespace
    record = await deps.objects.replace(
        key_of(served, target), accepted.body, subresource=_subresource(target), dry_run=options.dry_run
    )
    return written(request, served, record, deps, accepted.warnings)


async def patch(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """PATCH of an object or its status: merge patch (RFC 7396) or JSON patch (RFC 6902)."""
    negotiate(request.headers.get("accept"))
    content = media_type(request, default="")
    if content not in PATCH_TYPES:
        raise unsupported_media_type(PATCH_TYPES)
    options = write_options("PatchOptions", request.query_params)
    decoded = decode_json(await read(request))
    warnings: tuple[str, ...] = ()
    if content == MERGE_PATCH:
        if not isinstance(decoded.value, dict):
            raise PatchError("a merge patch is an object", malformed=True)
        check_identity(served, decoded.value, target, whole=False)
        accepted = accept(_kind(served), decoded, options.validation, patch=True)
        change, warnings = Patch("merge", accepted.body), accepted.warnings
    else:
        change = Patch("json", _operations(decoded))
    record = await deps.objects.patch(
        key_of(served, target), change, subresource=_subresource(target), dry_run=options.dry_run
    )
    return written(request, served, record, deps, warnings)


async def delete(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """DELETE of one object: a Status when it is gone, the object while finalizers hold it."""
    options = delete_options(request.query_params, await _optional_body(request))
    deletion = await deps.objects.delete(
        key_of(served, target), uid=options.uid, resource_version=options.resource_version, dry_run=options.dry_run
    )
    if not deletion.gone:
        return answer(deletion.record.body, Form())
    details = {"name": target.name, "group": served.group, "kind": served.plural, "uid": deletion.record.uid}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return answer(msgspec.json.encode(status), Form())


async def delete_collection(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """DELETE of what the selectors find in a namespace; answers with the list of it."""
    options = delete_options(request.query_params, await _optional_body(request))
    which = list_options(served, target.namespace, request.query_params, watch=False)
    page = await deps.objects.list(which.query)
    deletions: list[Deletion] = []
    for record in page.records:
        try:
            deletions.append(await deps.objects.delete(record.key, uid=record.uid, dry_run=options.dry_run))
        except NotFoundError:
            continue  # somebody else was faster
    write = Renderer(served, Form(), "None", deps.clock)
    version = await deps.objects.resource_version()
    return answer(write.many([d.record for d in deletions], ListMeta(version)), Form())


def _kind(served: Served) -> Kind:
    if served.model is None:
        raise method_not_allowed("write", served)
    return served.model


def key_of(served: Served, target: Target) -> Key:
    """The object at `target`."""
    return Key(served.kind, target.namespace or "", target.name)


def _subresource(target: Target) -> Subresource:
    return "status" if target.subresource == "status" else ""


def check_identity(served: Served, body: dict[str, Any], target: Target, *, whole: bool) -> None:
    """The body's apiVersion, kind, namespace and name against the path's. A patch (not `whole`) may leave them out.

    Raises:
        ApiError: 400.
        InvalidError: another kind.
    """
    kind, version = body.get("kind"), body.get("apiVersion")
    if whole and (not kind or not version):
        missing = "kind" if not kind else "apiVersion"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {served.kind}): {missing} is missing; "
            f"write apiVersion: {served.api_version} and kind: {served.kind}",
            [StatusCause("FieldValueRequired", "Required value", missing, "Required")],
        )
    if version is not None and version != served.api_version:
        raise bad_request(
            f"the API version in the data ({str(version)[:120]}) does not match the expected API version "
            f"({served.api_version})",
            [StatusCause("FieldValueInvalid", f"must be {served.api_version}", "apiVersion", "NotFound")],
        )
    named, _ = metadata.checked(body.get("metadata"))
    if kind is not None and kind != served.kind:
        text = f'Invalid value: "{str(kind)[:120]}": must be {served.kind}'
        name = named.get("name") or target.name
        raise InvalidError(str(kind)[:120], name, [Cause("kind", "FieldValueInvalid", text, "NotFound")])
    if named.get("namespace") not in (None, "", target.namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if target.name and named.get("name") not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({named['name'][:253]}) does not match the name on the URL ({target.name})"
        )


def _operations(decoded: Decoded) -> list[Any]:
    operations = decoded.value
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise PatchError("a JSON patch is a list of operations, each an object", malformed=True)
    if len(operations) > _MAX_OPERATIONS:
        raise ApiError(
            413, f"the allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}"
        )
    return operations


_MAX_OPERATIONS = 10_000


async def _optional_body(request: Request) -> Any:
    data = await read(request)
    return decode_json(data).value if data.strip() else None
