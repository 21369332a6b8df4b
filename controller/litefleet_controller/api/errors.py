"""Where every refusal becomes a Kubernetes Status object: the right code, reason, details and causes, in one place.

Handlers raise what the lower floors raise, or an `ApiError`; `status_of` alone decides how it looks over HTTP.
Litefleet's stable code travels as `code` in a cause, beside Kubernetes' own fields, which other clients ignore.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from litefleet_controller.api.served import Served
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.causes import plain, shortened
from litefleet_controller.resources.manifest import ManifestError
from litefleet_controller.store.errors import (
    AlreadyExistsError,
    ApplyConflictError,
    ConflictError,
    DatabaseFullError,
    DatabaseLockedError,
    ExpiredError,
    FieldNotSelectableError,
    NamespaceNotFoundError,
    NamespaceTerminatingError,
    NotFoundError,
    PatchError,
    PreconditionError,
    ProtectedError,
)
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class StatusCause:
    """One of details.causes; `code` is litefleet's stable one."""

    reason: str
    message: str
    field: str = ""
    code: str = ""

    def json(self) -> dict[str, str]:
        """As in a Status, without empty members."""
        members = {"reason": self.reason, "message": self.message, "field": self.field, "code": self.code}
        return {k: v for k, v in members.items() if v}


class ApiError(Exception):
    """A refusal in the words of HTTP and Kubernetes.

    Attributes:
        code: the HTTP status.
        reason: Kubernetes' StatusReason; the usual one for the code when not given.
        details: name, group, kind, uid or retryAfterSeconds of the Status.
        causes: what exactly is wrong, field by field.
        headers: to send along.
        metadata: of the Status: `continue`, where a list may go on.
        warnings: to send along, each in a header of its own.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        causes: Sequence[StatusCause] = (),
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = _REASONS.get(code, "") if reason is None else reason
        self.details = details
        self.causes = tuple(causes)
        self.headers = dict(headers or {})
        self.metadata = dict(metadata or {})
        self.warnings = tuple(warnings)

    def status(self) -> dict[str, Any]:
        """The Status object."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            "code": self.code,
        }
        if self.details is not None or self.causes:
            body["details"] = dict(self.details or {})
            if self.causes:
                body["details"]["causes"] = [c.json() for c in self.causes]
        return body

    def response(self) -> Response:
        """The answer."""
        body = msgspec.json.encode(self.status())
        response = Response(body, self.code, media_type="application/json", headers=self.headers)
        add_warnings(response, self.warnings)
        return response


def add_warnings(response: Response, warnings: Sequence[str]) -> None:
    """A Warning header for each, as an HTTP quoted-string.

    A header is latin-1; other characters and line ends come as `?`.
    """
    for text in warnings:
        printable = "".join(c if c.isprintable() else "?" for c in text[:400])
        plain = printable.encode("latin-1", "replace").decode("latin-1")
        quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.append("Warning", f'299 - "{quoted}"')


def refused(http_status: int, code: str, message: str, *, field: str = "", hint: str = "") -> ApiError:
    """A refusal with litefleet's stable `code`, for doors that aren't about an object (enrollment, uploads)."""
    text = f"{message} ({hint})" if hint else message
    return ApiError(http_status, text, details={}, causes=[StatusCause(code, text, field, code)])


def bad_request(message: str, causes: Sequence[StatusCause] = (), warnings: Sequence[str] = ()) -> ApiError:
    """What was sent can't be understood."""
    return ApiError(400, message, causes=causes, warnings=warnings)


def unauthorized() -> ApiError:
    """No token, or none that is known and current."""
    return ApiError(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})


def not_found(served: Served, name: str) -> ApiError:
    """There is no such object."""
    return ApiError(404, f'{served.qualified} "{name}" not found', details=_of(served, name))


def no_such_resource() -> ApiError:
    """A path below a served version that leads nowhere."""
    return ApiError(404, "the server could not find the requested resource", details={})


def method_not_allowed(verb: str, served: Served) -> ApiError:
    """The resource has no such verb."""
    return ApiError(405, f'{verb} is not supported on resources of kind "{served.qualified}"', details=_of(served, ""))


def too_large(limit: int) -> ApiError:
    """A body above the limit."""
    text = f"Request entity too large: limit is {limit}"
    return ApiError(413, text, causes=[StatusCause(Code.TOO_LARGE, text, code=Code.TOO_LARGE)])


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """A body in a form that isn't read here; says which are."""
    shown = ", ".join(accepted)
    return ApiError(415, f"the body of the request was in an unknown format - accepted media types include: {shown}")


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """None of the answers' forms suits the client."""
    return ApiError(406, f"only the following media types are accepted: {', '.join(accepted)}")


def invalid_options(kind: str, causes: Sequence[StatusCause]) -> ApiError:
    """Query parameters or a DeleteOptions body that contradict themselves or name what isn't served."""
    shown = [f"{c.field}: {c.message}" for c in causes]
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    details = {"group": "meta.k8s.io", "kind": kind}
    return ApiError(422, f'{kind}.meta.k8s.io "" is invalid: {text}', details=details, causes=causes)


def future_version(requested: int, current: int) -> ApiError:
    """A read that must not be older than a version that doesn't exist yet."""
    return ApiError(
        504,
        f"Timeout: Too large resource version: {requested}, current: {current}",
        details={"retryAfterSeconds": 1},
        causes=[StatusCause("ResourceVersionTooLarge", "Too large resource version")],
        headers={"Retry-After": "1"},
    )


def internal(request_id: str) -> ApiError:
    """A fault of ours. What it was stands in the log, under the id."""
    return ApiError(
        500,
        f"internal error; the server's log has it under request id {request_id}",
        details={"causes": [{"reason": "RequestId", "message": request_id}]},
    )


def status_of(error: Exception, served: Mapping[str, Served]) -> ApiError | None:
    """How `error` looks over HTTP; None when it isn't a refusal but a fault. `served` finds a resource by kind."""
    for type_, look in _LOOKS:
        if isinstance(error, type_):
            return look(error, served)
    return None


def invalid(error: InvalidError, served: Mapping[str, Served]) -> ApiError:
    """422 with every cause; details.kind is the Kind, as Kubernetes has it for this reason alone.

    A missing resourceVersion is its one exception: there it is the plural.
    """
    resource = served.get(error.kind)
    group = resource.group if resource is not None else ""
    kind = error.kind
    if resource is not None and [c.field for c in error.causes] == ["metadata.resourceVersion"]:
        kind = resource.plural
    shown = list(dict.fromkeys(f"{c.field}: {c.message}" if c.field else c.message for c in error.causes))
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    details = {k: v for k, v in {"name": error.name, "group": group, "kind": kind}.items() if v}
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{shortened(error.name)}" is invalid: {text}'
    return ApiError(422, message, details=details, causes=causes_of(error.causes))


def causes_of(causes: Sequence[Cause]) -> list[StatusCause]:
    """Admission's causes as those of a Status."""
    return [StatusCause(c.reason, c.message, c.field, c.code) for c in causes]


def _http(error: HTTPException) -> ApiError:
    """Starlette's own refusals: no such route, no such method."""
    if error.status_code == 405:
        text = "the server does not allow this method on the requested resource"
        return ApiError(405, text, details={}, headers=error.headers)
    if error.status_code == 404:
        return no_such_resource()
    return ApiError(error.status_code, str(error.detail), headers=error.headers)


def _parameters(error: RequestValidationError) -> ApiError:
    """FastAPI's parameter checks, for the routes that are declared with it."""
    causes = []
    for item in error.errors():
        place = ".".join(str(step) for step in item["loc"][1:]) or str(item["loc"][0])
        text = plain(item["type"], item["msg"], item.get("ctx", {}))
        causes.append(StatusCause("FieldValueInvalid", text, place, "Invalid"))
    shown = ", ".join(f"{c.field}: {c.message}" for c in causes)
    return ApiError(422, f"the request is invalid: {shown}", details={}, causes=causes)


def _missing(error: NotFoundError, served: Mapping[str, Served]) -> ApiError:
    key = error.key
    return _about(served, key.kind, 404, key.name, f'{_qualified(served, key.kind)} "{key.name}" not found')


def _missing_namespace(error: NamespaceNotFoundError, _: Mapping[str, Served]) -> ApiError:
    name = error.namespace
    return ApiError(404, f'namespaces "{name}" not found', details={"name": name, "kind": "namespaces"})


def _terminating(error: NamespaceTerminatingError, served: Mapping[str, Served]) -> ApiError:
    key = error.key
    text = f"unable to create new content in namespace {key.namespace} because it is being terminated"
    message = f'{_qualified(served, key.kind)} "{key.name}" is forbidden: {text}'
    cause = StatusCause("NamespaceTerminating", f"namespace {key.namespace} is being terminated", "metadata.namespace")
    return _about(served, key.kind, 403, key.name, message, causes=[cause])


def _protected(error: ProtectedError, served: Mapping[str, Served]) -> ApiError:
    key = error.key
    message = f'{_qualified(served, key.kind)} "{key.name}" is forbidden: it may not be deleted'
    return _about(served, key.kind, 403, key.name, message)


def _taken(error: AlreadyExistsError, served: Mapping[str, Served]) -> ApiError:
    key = error.key
    prefix = "object is being deleted: " if error.being_deleted else ""
    text = f'{prefix}{_qualified(served, key.kind)} "{key.name}" already exists'
    return _about(served, key.kind, 409, key.name, text, reason="AlreadyExists")


def _conflict(error: ConflictError, served: Mapping[str, Served]) -> ApiError:
    key, why = error.key, str(error)
    if why == str(ConflictError(key)):  # the usual one, for which clients know Kubernetes' words
        why = "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {_qualified(served, key.kind)} "{key.name}": {why}'
    return _about(served, key.kind, 409, key.name, text)


def _precondition(error: PreconditionError, served: Mapping[str, Served]) -> ApiError:
    """Here Kubernetes names the Kind where it names the plural for every other conflict."""
    key = error.key
    resource = served.get(key.kind)
    group = resource.group if resource is not None else ""
    qualified = f"{key.kind}.{group}" if group else key.kind
    details = {k: v for k, v in {"name": key.name, "group": group, "kind": key.kind}.items() if v}
    return ApiError(409, f'Operation cannot be fulfilled on {qualified} "{key.name}": {error}', details=details)


def _contested(error: ApplyConflictError) -> ApiError:
    causes = [StatusCause("FieldManagerConflict", f"conflict with {c.manager}", c.field) for c in error.conflicts]
    return ApiError(409, str(error), causes=causes)


def _unavailable(code: str, message: str, retry_after_s: int) -> ApiError:
    """503 that says when to come again; not in the driver's words, which name files."""
    return ApiError(
        503,
        message,
        details={"retryAfterSeconds": retry_after_s},
        causes=[StatusCause(code, message, code=code)],
        headers={"Retry-After": str(retry_after_s)},
    )


def storage_full(what: str) -> ApiError:
    """There is no room for `what`."""
    hint = "free some space on the disk with the controller's data, or tell whoever runs it; it goes on by itself"
    return _unavailable("StorageFull", f"the controller has no room for {what}: {hint}", 5)


def _locked() -> ApiError:
    hint = "try again, and end what locks it (a backup, a sqlite3 shell) when that lasts"
    return _unavailable("DatabaseLocked", f"the controller's database is locked, nothing was changed: {hint}", 2)


def _bad_patch(error: PatchError, _: Mapping[str, Served]) -> ApiError:
    if error.malformed:
        return bad_request(f"error decoding patch: {error}")
    text = "the server rejected our request due to an error in our request"
    return ApiError(422, text, details={}, causes=[StatusCause("PatchFailed", str(error), code="PatchFailed")])


def _manifest(error: ManifestError, _: Mapping[str, Served]) -> ApiError:
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return bad_request(f"{error.where}: {text}", [StatusCause(error.code, text, error.where, error.code)])


_PROTOCOL = {Code.TOKEN_INVALID: 401, Code.TOKEN_USED: 401, Code.TOKEN_EXPIRED: 401, Code.TOO_LARGE: 413}
"""HTTP statuses of stable codes; what isn't listed is 422."""


def _protocol(error: ProtocolError, _: Mapping[str, Served]) -> ApiError:
    return refused(_PROTOCOL.get(error.code, 422), error.code, str(error), field=error.field, hint=error.hint)


def _qualified(served: Mapping[str, Served], kind: str) -> str:
    resource = served.get(kind)
    return resource.qualified if resource is not None else kind


def _about(
    served: Mapping[str, Served],
    kind: str,
    code: int,
    name: str,
    message: str,
    reason: str | None = None,
    causes: Sequence[StatusCause] = (),
) -> ApiError:
    resource = served.get(kind)
    details = _of(resource, name) if resource is not None else {"name": name, "kind": kind}
    return ApiError(code, message, reason=reason, details=details, causes=causes)


def _of(served: Served, name: str) -> dict[str, str]:
    members = {"name": name, "group": served.group, "kind": served.plural}
    return {k: v for k, v in members.items() if v}


_Look = Callable[[Any, Mapping[str, Served]], ApiError]
_LOOKS: tuple[tuple[type[Exception], _Look], ...] = (
    (ApiError, lambda e, _: e),
    (NotFoundError, _missing),
    (NamespaceNotFoundError, _missing_namespace),
    (NamespaceTerminatingError, _terminating),
    (ProtectedError, _protected),
    (AlreadyExistsError, _taken),
    (PreconditionError, _precondition),
    (ConflictError, _conflict),
    (ApplyConflictError, lambda e, _: _contested(e)),
    (InvalidError, invalid),
    (PatchError, _bad_patch),
    (ExpiredError, lambda e, _: ApiError(410, str(e))),
    (DatabaseFullError, lambda _e, _: storage_full("the change")),
    (DatabaseLockedError, lambda _e, _: _locked()),
    (FieldNotSelectableError, lambda e, _: bad_request(str(e))),
    (ManifestError, _manifest),
    (ProtocolError, _protocol),
    (HTTPException, lambda e, _: _http(e)),
    (RequestValidationError, lambda e, _: _parameters(e)),
)
"""Every class of refusal, and what becomes of it."""
