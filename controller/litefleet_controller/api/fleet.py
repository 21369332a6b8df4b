"""The fleet API, beside the Kubernetes one: what isn't a resource. Enrollment, uploads, rollout verbs, telemetry.

Every route asks `fleet/` and answers in JSON; refusals are Status objects like everywhere else. `/ca` and `/enroll` are
for boards that have no identity yet: they need no token of a person, the enrollment token is the credential.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.routing import APIRoute
from pydantic import AwareDatetime
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from litefleet_controller.api.boardlog import add_board_log
from litefleet_controller.api.bodies import read
from litefleet_controller.api.core import CORE
from litefleet_controller.api.errors import ApiError, StatusCause, bad_request, refused, storage_full
from litefleet_controller.api.interface import ApiDependencies, Person
from litefleet_controller.api.report import add_report
from litefleet_controller.api.served import Catalog
from litefleet_controller.api.target import Target, authorize
from litefleet_controller.artifacts.errors import (
    BlobCorruptError,
    BlobEmptyError,
    BlobError,
    BlobNotFoundError,
    BlobTooLargeError,
    StorageFullError,
)
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.fleet.boardlog import BoardLog
from litefleet_controller.fleet.enroll import Enrollment
from litefleet_controller.fleet.errors import FleetError
from litefleet_controller.fleet.explaining import Explanations
from litefleet_controller.fleet.push import Uploads
from litefleet_controller.fleet.queries import DIMENSIONS, MAX_WINDOWS, Dimension, Queries, Span
from litefleet_controller.fleet.report import Reports
from litefleet_controller.fleet.verbs import Verbs
from litefleet_controller.resources.meta import GROUP, VERSION
from litefleet_controller.store.interface import Key
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import EnrollRequest
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.names import check_digest

PREFIX = "/fleet/v1"
_MAX_BODY = 64 * 1024
T = TypeVar("T")

Namespace = Annotated[str, Path(max_length=63)]
Name = Annotated[str, Path(max_length=253)]
Label = Annotated[str | None, Query(max_length=253)]


@dataclass(frozen=True, slots=True)
class FleetDependencies:
    """What the fleet API stands on, beside what the Kubernetes API does."""

    api: ApiDependencies
    enrollment: Enrollment
    uploads: Uploads
    blobs: Blobs
    verbs: Verbs
    queries: Queries
    explanations: Explanations
    boardlog: BoardLog
    reports: Reports


class TokenWish(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of POST devicetokens."""

    ttl_seconds: float = 3600.0
    url: str = ""
    """The controller as boards reach it; the address that was asked, when empty."""


class VerbBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a rollout verb; may be left out."""

    to_version: str | int | None = None
    """undo: a number or a ModelVersion's name."""


_REFUSAL: dict[str, Any] = {
    "description": "A refusal: a Kubernetes Status, with litefleet's stable code in details.causes.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["kind", "status", "message", "code"],
                "properties": {
                    "kind": {"const": "Status"},
                    "status": {"const": "Failure"},
                    "message": {"type": "string"},
                    "code": {"type": "integer"},
                },
            }
        }
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {"default": _REFUSAL, 422: _REFUSAL}
"""422 too, for which FastAPI would otherwise promise a form of its own."""


class FleetRoute(APIRoute):
    """Says in HTTP's words what fleet/ and the storage refuse; `api.errors` makes the Status object of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals translated."""
        handle = super().get_route_handler()

        async def translated(request: Request) -> Response:
            try:
                return await handle(request)
            except (FleetError, BlobError) as e:
                raise api_error(e) from e

        return translated


def fleet_router(deps: FleetDependencies) -> APIRouter:
    """All routes below /fleet/v1."""
    router = APIRouter(prefix=PREFIX, route_class=FleetRoute, tags=["fleet"], responses=_REFUSALS)
    doors = _Doors(deps, Catalog(deps.api.registry, CORE))
    _add_enrollment(router, doors)
    _add_blobs(router, doors)
    _add_rollouts(router, doors)
    _add_telemetry(router, doors)
    _add_explanations(router, doors)
    add_board_log(router, doors.person, deps.boardlog, deps.api)
    add_report(router, doors.person, deps.reports)
    return router


@dataclass(frozen=True, slots=True)
class _Doors:
    deps: FleetDependencies
    catalog: Catalog

    def person(self, request: Request, verb: str, resource: str, namespace: str | None, name: str = "") -> Person:
        """Whoever asks, when they may."""
        person: Person = request.state.person
        plural, _, subresource = resource.partition("/")
        target = Target(GROUP, VERSION, plural, namespace, name, subresource)
        authorize(person, verb, target, allowed=self.deps.api.allowed, catalog=self.catalog)
        return person


def _add_enrollment(router: APIRouter, doors: _Doors) -> None:
    deps = doors.deps

    @router.get("/ca", responses={200: {"content": {"application/x-pem-file": {}}}}, response_class=Response)
    async def ca() -> Response:
        """The fleet CA's certificate, PEM, to anyone: boards compare its hash with their token's."""
        return Response(deps.enrollment.ca_pem, media_type="application/x-pem-file")

    @router.post("/enroll", status_code=201)
    async def enroll(request: Request) -> Response:
        """Take a board in: its token and CSR against a certificate and the broker's address."""
        wish = _decoded(await read(request, _MAX_BODY), EnrollRequest)
        return _json(await deps.enrollment.enroll(wish, deps.api.clock()), 201)

    @router.post("/namespaces/{namespace}/devicetokens", status_code=201)
    async def create_token(request: Request, namespace: Namespace) -> Response:
        """Make a token that lets one board join the namespace."""
        person = doors.person(request, "create", "devicetokens", namespace)
        wish = _decoded(await read(request, _MAX_BODY) or b"{}", TokenWish)
        token = await deps.enrollment.create_token(
            namespace,
            ttl_s=wish.ttl_seconds,
            url=wish.url or str(request.base_url).rstrip("/"),
            by=person.name,
            now=deps.api.clock(),
        )
        return _json({"token": token}, 201)


def _add_blobs(router: APIRouter, doors: _Doors) -> None:
    deps = doors.deps

    @router.post("/namespaces/{namespace}/blobs", status_code=201)
    async def push(request: Request, namespace: Namespace, name: Annotated[str, Query(max_length=255)]) -> Response:
        """Upload a model or a data set; `name` is the file's name, the body its bytes."""
        doors.person(request, "create", "blobs", namespace)
        # A mistyped one is 404, though blobs belong to all.
        await deps.api.objects.get(Key("Namespace", "", namespace))
        try:
            return _json(await deps.uploads.push(_body(request), name), 201)
        except ClientDisconnect as e:
            raise bad_request("the client went away before the upload was complete") from e

    @router.get(
        "/blobs/{digest}",
        responses={200: {"content": {"application/octet-stream": {}}}},
        response_class=Response,
    )
    async def blob(request: Request, digest: str) -> Response:
        """The bytes of a blob. Who knows its digest has had its content or was told of it by someone who may."""
        doors.person(request, "get", "blobs", request.state.person.namespace)
        size = await deps.blobs.size(check_digest(digest, "digest"))
        if size is None:
            raise BlobNotFoundError(digest)
        headers = {"Content-Length": str(size), "ETag": f'"{digest}"', "Cache-Control": "private, immutable"}
        return StreamingResponse(deps.blobs.stream(digest), media_type="application/octet-stream", headers=headers)


def _add_rollouts(router: APIRouter, doors: _Doors) -> None:
    deps = doors.deps

    @router.get("/namespaces/{namespace}/rollouts/{name}")
    async def rollout(request: Request, namespace: Namespace, name: Name) -> Response:
        """A rollout on one page: steps in words, classes, boards."""
        doors.person(request, "get", "modelrollouts", namespace, name)
        return _json(await deps.queries.rollout(namespace, name))

    @router.post("/namespaces/{namespace}/rollouts/{name}/{verb}")
    async def verb(request: Request, namespace: Namespace, name: Name, verb: str) -> Response:
        """Promote, abort, retry, pause, resume or undo."""
        person = doors.person(request, "create", f"modelrollouts/{verb}", namespace, name)
        body = _decoded(await read(request, _MAX_BODY) or b"{}", VerbBody)
        to_version = None if body.to_version is None else str(body.to_version)
        return _json(await deps.verbs.do(verb, namespace, name, by=person.name, to_version=to_version))


def _add_explanations(router: APIRouter, doors: _Doors) -> None:
    deps = doors.deps

    @router.get("/namespaces/{namespace}/variants/{reference:path}")
    async def variant(
        request: Request,
        namespace: Namespace,
        reference: Annotated[
            str,
            Path(max_length=330, description="A digest, the beginning of one, or MODELVERSION/CLASS."),
        ],
    ) -> Response:
        """Where a variant comes from, as an in-toto statement with SLSA's provenance, and who uses it."""
        doors.person(request, "get", "modelversions", namespace)
        return _json(await deps.explanations.variant(namespace, reference))


def _add_telemetry(router: APIRouter, doors: _Doors) -> None:
    deps = doors.deps

    @router.get("/namespaces/{namespace}/telemetry")
    async def telemetry(
        request: Request,
        namespace: Namespace,
        slot: Annotated[str, Query(max_length=63, description="The Model's name.")],
        device_class: Annotated[str | None, Query(alias="class", max_length=63)] = None,
        version: Label = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        by: Annotated[str, Query(max_length=100, description="class, version, or both.")] = ",".join(DIMENSIONS),
    ) -> Response:
        """Merged telemetry of a slot, by class and version."""
        doors.person(request, "get", "telemetry", namespace)
        span = Span(since, until, device_class, version)
        return _json({"slot": slot, "items": await deps.queries.aggregate(namespace, slot, span, _dimensions(by))})

    @router.get("/namespaces/{namespace}/telemetry/windows")
    async def windows(
        request: Request,
        namespace: Namespace,
        device: Annotated[str | None, Query(max_length=63)] = None,
        slot: Annotated[str | None, Query(max_length=63)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_WINDOWS)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    ) -> Response:
        """Single windows, the newest first."""
        doors.person(request, "get", "telemetry", namespace)
        found = await deps.queries.windows(namespace, device=device, slot=slot, limit=limit, before=before)
        return _json(found)


def api_error(error: FleetError | BlobError) -> ApiError:
    """A refusal of the fleet or of the storage, in HTTP's words."""
    match error:
        case FleetError():
            return refused(_HTTP[error.reason], error.code, str(error), field=error.field, hint=error.hint)
        case BlobCorruptError():
            cause = StatusCause(Code.DIGEST_MISMATCH, str(error), code=Code.DIGEST_MISMATCH)
            return ApiError(500, str(error), details={}, causes=[cause])
        case StorageFullError():
            return storage_full("the file")
        case _:
            status, code = _STORAGE.get(type(error), (500, Code.INTERNAL))
            return refused(status, code, str(error))


_STORAGE: Mapping[type[BlobError], tuple[int, str]] = {
    BlobNotFoundError: (404, "NotFound"),
    BlobTooLargeError: (413, Code.TOO_LARGE),
    BlobEmptyError: (400, Code.EMPTY),
}
_HTTP: Mapping[str, int] = {
    "BadRequest": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "RequestEntityTooLarge": 413,
    "Invalid": 422,
}


def _decoded(data: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ProtocolError(Code.BAD_MESSAGE, f"the body can't be read: {e}") from e


def _dimensions(by: str) -> list[Dimension]:
    words = [w.strip() for w in by.split(",") if w.strip()]
    chosen = [d for d in DIMENSIONS if d in words]
    if len(chosen) != len(words):
        raise refused(400, "Invalid", f"{by!r}: telemetry is told apart by {' and '.join(DIMENSIONS)}", field="by")
    return chosen


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
