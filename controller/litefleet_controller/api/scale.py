"""`/scale`: how many replicas are wanted and there, in one form for every kind that says where it keeps them.

`kubectl scale` and autoscalers speak it. Source: Kubernetes' API reference, autoscaling/v1 Scale.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api.bodies import JSON_PATCH, MERGE_PATCH, decode_json, media_type, read, read_object
from litefleet_controller.api.errors import bad_request, unsupported_media_type
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.negotiate import Form, negotiate
from litefleet_controller.api.options import write_options
from litefleet_controller.api.paths import look_up
from litefleet_controller.api.reading import answer
from litefleet_controller.api.served import Served
from litefleet_controller.api.target import Target
from litefleet_controller.api.writing import agent_of, key_of
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.kind import Scale
from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.interface import Json, Patch, Record
from litefleet_controller.store.patching import apply_patch

GROUP, VERSION, KIND = "autoscaling", "v1", "Scale"
API_VERSION = f"{GROUP}/{VERSION}"
_SHARED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_PATCHES = {MERGE_PATCH: "merge", JSON_PATCH: "json"}


async def serve(
    request: Request, served: Served, scale: Scale, target: Target, verb: str, deps: ApiDependencies
) -> Response:
    """GET, PUT or PATCH; `verb` is get, update or patch.

    Raises:
        ApiError, StoreError, InvalidError: replicas that are no number from 0 on.
    """
    negotiate(request.headers.get("accept"))
    key = key_of(served, target)
    record = await deps.objects.get(key)
    if verb == "get":
        return _written(record, scale)
    kind = "UpdateOptions" if verb == "update" else "PatchOptions"
    options = write_options(kind, request.query_params, agent_of(request))
    wanted = (await _sent(request)) if verb == "update" else await _patched(request, of_object(record.json(), scale))
    version = (wanted.get("metadata") or {}).get("resourceVersion") if verb == "update" else None
    change: Json = _nested(scale.spec_replicas, _replicas(target.name, wanted))
    if version:
        change["metadata"] = {"resourceVersion": version}
    record = await deps.objects.patch(
        key, Patch("merge", change), subresource="scale", manager=options.manager, dry_run=options.dry_run
    )
    return _written(record, scale)


def of_object(body: Json, scale: Scale) -> Json:
    """The Scale of an object; replicas that aren't there count as none."""
    metadata = {name: body["metadata"][name] for name in _SHARED if name in body["metadata"]}
    status: Json = {"replicas": look_up(body, scale.status_replicas) or 0}
    selector = look_up(body, scale.label_selector) if scale.label_selector else None
    if selector:
        status["selector"] = selector
    spec = {"replicas": look_up(body, scale.spec_replicas) or 0}
    return {"kind": KIND, "apiVersion": API_VERSION, "metadata": metadata, "spec": spec, "status": status}


def _written(record: Record, scale: Scale) -> Response:
    return answer(msgspec.json.encode(of_object(record.json(), scale)), Form())


async def _sent(request: Request) -> Json:
    body: Json = (await read_object(request, kind=KIND)).value
    if body.get("kind") != KIND or body.get("apiVersion") != API_VERSION:
        raise bad_request(f"the body must be a {KIND} of {API_VERSION}")
    return body


async def _patched(request: Request, current: Json) -> Json:
    type_ = _PATCHES.get(media_type(request, default=""))
    if type_ is None:
        raise unsupported_media_type(tuple(_PATCHES))
    decoded = decode_json(await read(request), "error decoding patch: ").value
    return apply_patch(current, Patch("merge" if type_ == "merge" else "json", decoded), Schema())


def _replicas(name: str, scale: Json) -> int:
    spec = scale.get("spec")
    replicas: Any = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if isinstance(replicas, int) and not isinstance(replicas, bool) and replicas >= 0:
        return replicas
    shown = msgspec.json.encode(replicas).decode()[:60]
    text = f"Invalid value: {shown}: must be a whole number greater than or equal to 0"
    raise InvalidError(KIND, name, [Cause("spec.replicas", "FieldValueInvalid", text, "OutOfRange")])


def _nested(path: str, value: int) -> Json:
    nested: Any = value
    for step in reversed(path.removeprefix(".").split(".")):
        nested = {step: nested}
    changed: Json = nested
    return changed
