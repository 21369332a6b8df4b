"""The door of the Kubernetes-compatible API: every path below /api and /apis comes in here.

Starlette's router knows none of the resources: paths are taken apart as Kubernetes does it, so that a new kind needs
no route, and authorization comes before anything else is said about what exists.
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from litefleet_controller.api import namespaces, reading, reviews, writing
from litefleet_controller.api.core import NAMESPACES, REVIEWS
from litefleet_controller.api.discovery import Discovery
from litefleet_controller.api.errors import bad_request, method_not_allowed, no_such_resource, not_found
from litefleet_controller.api.events import EVENTS, NEW_EVENTS, NewEvents
from litefleet_controller.api.interface import ApiDependencies, Reader
from litefleet_controller.api.options import is_watch
from litefleet_controller.api.served import STATUS_VERBS, Catalog, Served
from litefleet_controller.api.target import Target, authorize, parse_target, verb_of


class KubernetesApi:
    """Dispatches by verb and resource."""

    def __init__(self, deps: ApiDependencies, catalog: Catalog) -> None:
        self._deps = deps
        self._catalog = catalog
        self._discovery = Discovery(catalog)
        self._new_events = NewEvents(deps.events)
        self._namespaces = namespaces.NamespaceReader(deps.namespaces, deps.objects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        response = await self.serve(Request(scope, receive))
        await response(scope, receive, send)

    async def serve(self, request: Request) -> Response:
        """Answer.

        Raises:
            ApiError, StoreError, InvalidError, ManifestError: turned into Status objects by the edge.
        """
        path = request.scope["path"]
        discovered = self._discover(request, path)
        if discovered is not None:
            return discovered
        target = parse_target(path)
        if target is None:
            return page_not_found()
        verb = verb_of(request.method, target, watch=is_watch(request.query_params))
        authorize(request.state.person, verb, target, allowed=self._deps.allowed, catalog=self._catalog)
        served = self._catalog.find(target.group, target.version, target.plural)
        if served is None or not _scope_fits(served, target, verb):
            if target.group:
                return page_not_found()
            raise no_such_resource()
        _check_verb(served, target, verb)
        return await self._dispatch(request, served, target, verb)

    def _discover(self, request: Request, path: str) -> Response | None:
        match path.rstrip("/").split("/")[1:]:
            case ["api"]:
                return self._discovery.roots(request, core=True)
            case ["apis"]:
                return self._discovery.roots(request, core=False)
            case ["api", version]:
                return self._discovery.version("", version) or page_not_found()
            case ["apis", group]:
                return self._discovery.group(group) or page_not_found()
            case ["apis", group, version]:
                return self._discovery.version(group, version) or page_not_found()
        return None

    async def _dispatch(self, request: Request, served: Served, target: Target, verb: str) -> Response:
        deps = self._deps
        if verb in _READS:
            return await _READS[verb](request, served, target, self._reader(served), deps)
        if served in REVIEWS:
            return await reviews.review(request, served, target, deps, self._catalog)
        if served is NAMESPACES:
            return await namespaces.create(request, target, deps)
        return await _WRITES[verb](request, served, target, deps)

    def _reader(self, served: Served) -> Reader:
        if served is NAMESPACES:
            return self._namespaces
        if served is NEW_EVENTS:
            return self._new_events
        return self._deps.events if served is EVENTS else self._deps.objects


_READS = {"get": reading.get, "list": reading.list_, "watch": reading.watch}
_WRITES = {
    "create": writing.create,
    "update": writing.update,
    "patch": writing.patch,
    "delete": writing.delete,
    "deletecollection": writing.delete_collection,
}
"""For the registry's kinds, which alone have these verbs."""


def page_not_found() -> Response:
    """What Kubernetes says of paths outside all served versions."""
    return PlainTextResponse("404 page not found\n", 404)


def _scope_fits(served: Served, target: Target, verb: str) -> bool:
    """A namespaced resource is read across namespaces, but written and named in one."""
    if not served.namespaced:
        return target.namespace in (None, target.name)
    return target.namespace is not None or verb in ("list", "watch")


def _check_verb(served: Served, target: Target, verb: str) -> None:
    if target.subresource:
        if target.subresource != "status" or served.model is None or not served.model.has_status:
            raise not_found(served, target.name)
        if verb not in STATUS_VERBS:
            raise method_not_allowed(verb, served)
        return
    if verb in ("update", "patch") and not target.name and verb in served.verbs:
        raise bad_request("name must be provided")
    if verb not in served.verbs:
        raise method_not_allowed(verb, served)
