"""POST, PUT, PATCH and DELETE for the registry's kinds.

The body is checked against the path, pruned by the kind's fields and handed to the store, which admits it and owns all
semantics of versions, generations and finalizers.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api import metadata, protobuf
from litefleet_controller.api.bodies import (
    APPLY_PATCH,
    MERGE_PATCH,
    PATCH_TYPES,
    STRATEGIC_PATCH,
    Decoded,
    decode_json,
    media_type,
    read,
    read_applied,
    read_object,
)
from litefleet_controller.api.errors import (
    ApiError,
    StatusCause,
    bad_request,
    method_not_allowed,
    unsupported_media_type,
)
from litefleet_controller.api.fields import accept, refuse_duplicates, warnings_of
from litefleet_controller.api.forms import Renderer
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.negotiate import Form, negotiate
from litefleet_controller.api.options import delete_options, list_options, write_options
from litefleet_controller.api.reading import answer, created, list_meta, written
from litefleet_controller.api.served import Served
from litefleet_controller.api.target import Target
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.kind import Kind
from litefleet_controller.resources.pruning import UnknownField
from litefleet_controller.store.errors import NotFoundError, PatchError, PreconditionError
from litefleet_controller.store.interface import Key, Page, Patch, Record, Subresource


async def create(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """POST to a collection."""
    negotiate(request.headers.get("accept"))
    options = write_options("CreateOptions", request.query_params, agent_of(request))
    decoded = await read_object(request, kind=served.kind, with_protobuf=served.kind in protobuf.KINDS)
    check_identity(served, decoded.value, target, whole=True)
    accepted = accept(_kind(served), decoded, options.validation)
    _put_namespace(served, accepted.body["metadata"], target)
    record = await deps.objects.create(accepted.body, manager=options.manager, dry_run=options.dry_run)
    return created(request, served, record, deps, accepted.warnings)


async def update(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """PUT on an object or its status."""
    negotiate(request.headers.get("accept"))
    options = write_options("UpdateOptions", request.query_params, agent_of(request))
    decoded = await read_object(request, kind=served.kind)
    check_identity(served, decoded.value, target, whole=True)
    accepted = accept(_kind(served), decoded, options.validation)
    if not accepted.body["metadata"].get("name"):
        raise bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    _put_namespace(served, accepted.body["metadata"], target)
    record = await deps.objects.replace(
        key_of(served, target),
        accepted.body,
        subresource=_subresource(target),
        manager=options.manager,
        dry_run=options.dry_run,
    )
    return written(request, served, record, deps, accepted.warnings)


async def patch(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """PATCH of an object or its status: merge patch (RFC 7396), JSON patch (RFC 6902) or server-side apply."""
    negotiate(request.headers.get("accept"))
    content = media_type(request, default="")
    known = (*PATCH_TYPES, STRATEGIC_PATCH) if _kind(served).builtin else PATCH_TYPES
    if content not in known:
        raise unsupported_media_type(known)
    if content == APPLY_PATCH:
        return await _apply(request, served, target, deps)
    options = write_options("PatchOptions", request.query_params, agent_of(request))
    decoded = decode_json(await read(request), "error decoding patch: ")
    warnings: tuple[str, ...] = ()
    found: list[UnknownField] = []
    if content in (MERGE_PATCH, STRATEGIC_PATCH):
        if not isinstance(decoded.value, dict):
            raise PatchError("a merge patch is an object", malformed=True)
        check_identity(served, decoded.value, target, whole=False)
        accepted = accept(_kind(served), decoded, options.validation, patch=True)
        change = Patch("merge" if content == MERGE_PATCH else "strategic", accepted.body)
        warnings = accepted.warnings
    else:
        unknown = found.extend if options.validation != "Strict" else None
        change = Patch("json", _operations(decoded), unknown)
    record = await deps.objects.patch(
        key_of(served, target),
        change,
        subresource=_subresource(target),
        manager=options.manager,
        dry_run=options.dry_run,
    )
    return written(request, served, record, deps, (*warnings, *warnings_of(found, options.validation)))


async def _apply(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """All that one manager wants of an object.

    What the kind doesn't have is refused whatever fieldValidation says: nobody could own it.
    """
    options = write_options("PatchOptions", request.query_params, agent_of(request), apply=True)
    decoded = await read_applied(request)
    body = decoded.value
    if body.get("apiVersion") != served.api_version or body.get("kind") != served.kind:
        raise bad_request(f"invalid object type: {_named_type(body)}")
    check_identity(served, body, target, whole=True)
    named = body.get("metadata") or {}
    if named.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    body["metadata"] = {**metadata.without_nulls(named), "name": target.name}
    _put_namespace(served, body["metadata"], target)
    warnings = refuse_duplicates(_kind(served), decoded, options.validation)
    applied = await deps.objects.apply(
        key_of(served, target),
        body,
        manager=options.manager,
        force=options.force,
        subresource=_subresource(target),
        dry_run=options.dry_run,
    )
    code = 201 if applied.created else 200
    return written(request, served, applied.record, deps, warnings, code=code)


def _named_type(body: dict[str, Any]) -> str:
    group, _, version = str(body.get("apiVersion", "/"))[:120].rpartition("/")
    return f"{group}/{version}, Kind={str(body.get('kind', ''))[:120]}"


def agent_of(request: Request) -> str:
    """The client's User-Agent."""
    return request.headers.get("user-agent", "")


async def delete(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """DELETE of one object: a Status when it is gone, the object while finalizers hold it."""
    options = delete_options(request.query_params, await _optional_body(request))
    deletion = await deps.objects.delete(
        key_of(served, target),
        uid=options.uid,
        resource_version=options.resource_version,
        propagation=options.propagation,
        dry_run=options.dry_run,
    )
    if not deletion.gone:
        return answer(deletion.record.body, Form())
    details = {"name": target.name, "group": served.group, "kind": served.plural, "uid": deletion.record.uid}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return answer(msgspec.json.encode(status), Form())


async def delete_collection(request: Request, served: Served, target: Target, deps: ApiDependencies) -> Response:
    """DELETE of what the selectors find in a namespace; answers with the list of it, as it was before."""
    options = delete_options(request.query_params, await _optional_body(request))
    which = list_options(served, target.namespace, request.query_params, watch=False)
    page = await deps.objects.list(which.query)
    deleted: list[Record] = []
    for record in page.records:
        try:
            await deps.objects.delete(
                record.key, uid=record.uid, propagation=options.propagation, dry_run=options.dry_run
            )
        except (NotFoundError, PreconditionError):
            continue  # somebody else was faster, and perhaps made another of the name
        deleted.append(record)
    write = Renderer(served, Form(), "None", deps.clock)
    return answer(write.many(Page(deleted, page.resource_version), list_meta(page, which)), Form())


def _kind(served: Served) -> Kind:
    if served.model is None:
        raise method_not_allowed("write", served)
    return served.model


def key_of(served: Served, target: Target) -> Key:
    """The object at `target`."""
    return Key(served.kind, (target.namespace or "") if served.namespaced else "", target.name)


def _put_namespace(served: Served, metadata: dict[str, Any], target: Target) -> None:
    metadata.pop("namespace", None)
    if served.namespaced:
        metadata["namespace"] = target.namespace


def _subresource(target: Target) -> Subresource:
    return "status" if target.subresource == "status" else ""


def check_identity(served: Served, body: dict[str, Any], target: Target, *, whole: bool) -> None:
    """The body's apiVersion, kind, namespace and name against the path's. A patch (not `whole`) may leave them out.

    Raises:
        ApiError: 400.
        InvalidError: another kind.
    """
    kind, version = body.get("kind"), body.get("apiVersion")
    if whole and served.model is not None and (not kind or not version):  # Kubernetes' own default to the path
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
            # Kubernetes reads it as another version's object, of which it knows nothing.
            [f'unknown field "{name}"' for name in body if name not in ("apiVersion", "kind", "metadata")],
        )
    named = _named(served, body.get("metadata"))
    if kind is not None and kind != served.kind:
        text = f'Invalid value: "{str(kind)[:120]}": must be {served.kind}'
        name = named.get("name") or target.name
        raise InvalidError(str(kind)[:120], name, [Cause("kind", "FieldValueInvalid", text, "NotFound")])
    if served.namespaced and named.get("namespace") not in (None, "", target.namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if target.name and named.get("name") not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({named['name'][:253]}) does not match the name on the URL ({target.name})"
        )


def _named(served: Served, given: Any) -> dict[str, Any]:
    """Metadata as far as they say which object is meant."""
    if served.model is not None:
        return metadata.checked(served.model, given)[0]
    return {k: v for k, v in given.items() if isinstance(v, str)} if isinstance(given, dict) else {}


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
