"""The outermost layer: who asks, and what becomes of everything that goes wrong further in.

Plain ASGI, so that answers stream through untouched. Every request gets an id and, on all but the public paths, a
person in `request.state.person`, which handlers and the audit trail rely on; what stays open for long asks again with
`request.state.authenticate()`.
"""

import secrets
from collections.abc import Iterable

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from litefleet_controller.api.bodies import PROTOBUF_TYPE
from litefleet_controller.api.errors import ApiError, internal, status_of, unauthorized
from litefleet_controller.api.forms import as_yaml
from litefleet_controller.api.interface import ANONYMOUS, ApiDependencies, Person
from litefleet_controller.api.negotiate import accepted
from litefleet_controller.api.protobuf import encode_status
from litefleet_controller.api.served import Catalog
from litefleet_controller.api.target import authorize_path

log = structlog.get_logger()
_MAX_TOKEN = 4096


def _completed(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """With the request's id; what doesn't say otherwise is not to be cached, errors included."""
    completed = [*headers, (b"audit-id", request_id.encode())]
    if not any(name.lower() == b"cache-control" for name, _ in completed):
        completed.append((b"cache-control", b"no-cache, private"))
    return completed


def _in_form(refusal: ApiError, scope: Scope) -> Response:
    """As YAML for who asked for YAML before all else, as protobuf for who reads nothing else."""
    types = [entry.type for entry in accepted(Request(scope).headers.get("accept"))]
    if types[0] == "application/yaml":
        body = as_yaml(msgspec.json.encode(refusal.status()))
    elif set(types) == {PROTOBUF_TYPE}:
        body = encode_status(refusal.status())
    else:
        return refusal.response()
    return Response(body, refusal.code, media_type=types[0], headers=refusal.headers)


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, deps: ApiDependencies, catalog: Catalog) -> None:
        self._app = app
        self._deps = deps
        self._catalog = catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _completed(message.get("headers", []), request_id)
            await send(message)

        try:
            await self._authenticate(scope, request_id)
            await self._app(scope, receive, watched)
        except Exception as e:  # noqa: BLE001 - the edge of the request: turned into an answer, or logged
            refusal = self._refusal(e, scope, request_id)
            if not started:
                await _in_form(refusal, scope)(scope, receive, watched)

    async def _authenticate(self, scope: Scope, request_id: str) -> None:
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["person"] = None
        if scope["path"] in self._deps.public_paths:
            return
        header = Request(scope).headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if self._deps.anonymous and scheme.lower() != "bearer":
            state["person"] = ANONYMOUS
            authorize_path(ANONYMOUS, scope["method"], scope["path"], self._deps.allowed)
            return
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
            raise unauthorized()

        async def authenticate() -> Person | None:
            return await self._deps.authenticate(token.strip(), self._deps.clock())

        state["person"] = await authenticate()
        state["authenticate"] = authenticate
        if state["person"] is None:
            raise unauthorized()
        authorize_path(state["person"], scope["method"], scope["path"], self._deps.allowed)

    def _refusal(self, error: Exception, scope: Scope, request_id: str) -> ApiError:
        known = status_of(error, self._catalog.by_kind)
        if known is not None:
            return known
        log.error("request_failed", request_id=request_id, method=scope["method"], path=scope["path"], exc_info=error)
        return internal(request_id)
