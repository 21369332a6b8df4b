"""The door of the Kubernetes-compatible API: every path below /api and /apis comes in here.

Starlette's router knows none of the resources: paths are taken apart as Kubernetes does it, so that a new kind needs
no route, and authorization comes before anything else is said about what exists.
"""

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from litefleet_controller.api import reading, reviews, scale, writing
from litefleet_controller.api.core import REVIEWS
from litefleet_controller.api.discovery import Discovery
from litefleet_controller.api.errors import ApiError, bad_request, method_not_allowed, no_such_resource, not_found
from litefleet_controller.api.events import NEW_EVENTS, NewEvents
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.options import is_watch
from litefleet_controller.api.served import STATUS_VERBS, Catalog, Served
from litefleet_controller.api.target import Target, authorize, parse_target, verb_of


class KubernetesApi:
    """Dispatches by verb and resource."""

    def __init__(self, deps: ApiDependencies, catalog: Catalog) -> None:
        self._deps = deps
        self._catalog = catalog
        self._discovery = Discovery(catalog)
        self._new_events = replace(deps, objects=NewEvents(deps.objects))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        request = Request(scope, receive)
        response = await self.serve(request)
        if request.query_params.get("pretty") in ("true", "1"):
            response = _indented(response)
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
        deps = self._new_events if served is NEW_EVENTS else self._deps
        if target.subresource == "scale" and served.model is not None and served.model.scale is not None:
            return await scale.serve(request, served, served.model.scale, target, verb, deps)
        if verb in _READS:
            return await _READS[verb](request, served, target, deps.objects, deps)
        if served in REVIEWS:
            return await reviews.review(request, served, target, deps, self._catalog)
        return await _WRITES[verb](request, served, target, deps)


_READS = {"get": reading.get, "list": reading.list_, "watch": reading.watch}
_WRITES = {
    "create": writing.create,
    "update": writing.update,
    "patch": writing.patch,
    "delete": writing.delete,
    "deletecollection": writing.delete_collection,
}
"""For the registry's kinds, namespaces and events."""


def _indented(response: Response) -> Response:
    """For people who read JSON as it comes."""
    if response.media_type != "application/json" or not response.body:
        return response
    response.body = msgspec.json.format(bytes(response.body), indent=2)
    response.headers["content-length"] = str(len(response.body))
    return response


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
        if target.subresource not in served.subresources:
            raise not_found(served, target.name)
        if verb not in STATUS_VERBS:
            raise method_not_allowed(verb, served)
        return
    if verb in ("update", "patch") and not target.name and verb in served.verbs:
        raise bad_request("name must be provided")
    if verb not in served.verbs:
        if served in REVIEWS:
            raise ApiError(405, "the server does not allow this method on the requested resource", details={})
        raise method_not_allowed(verb, served)
