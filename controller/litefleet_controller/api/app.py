"""Builds the web application: the Kubernetes-compatible API. Other routers are added by the composition root."""

import platform

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from litefleet_controller.api.core import CORE
from litefleet_controller.api.edge import Edge
from litefleet_controller.api.errors import status_of
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.kubernetes import KubernetesApi, page_not_found
from litefleet_controller.api.openapi import OpenApi
from litefleet_controller.api.served import Catalog

_PATHS = ["/api", "/apis", "/fleet/v1", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]


class _Anything(PathConvertor):
    """Starlette's own ends at a newline, which a name in a path may hold: it is a bad name, and is told so."""

    regex = r"[\s\S]*"


register_url_convertor("anything", _Anything())


def create_api(deps: ApiDependencies) -> FastAPI:
    """The application. `include_router` adds what isn't Kubernetes'; its errors become Status objects too."""
    catalog = Catalog(deps.registry, CORE)
    app = FastAPI(title="litefleet", version=deps.version, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    kubernetes = KubernetesApi(deps, catalog)
    for path in ("/api", "/apis", "/api/{rest:anything}", "/apis/{rest:anything}"):
        # As an ASGI application, which gets every method, also those that HTTP doesn't have: it answers them itself.
        app.router.routes.append(Route(path, kubernetes, include_in_schema=False))
    documents = OpenApi(catalog, deps.version)
    app.add_route("/openapi/v3", documents.index, include_in_schema=False)
    app.add_route("/openapi/v3/{name:path}", documents.document, include_in_schema=False)
    _add_small_routes(app, deps)

    async def framework_refusal(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 404 and not request.url.path.startswith("/fleet/"):
            return page_not_found()
        refusal = status_of(error, catalog.by_kind)
        if refusal is None:
            raise error
        return refusal.response()

    app.add_exception_handler(HTTPException, framework_refusal)
    app.add_exception_handler(RequestValidationError, framework_refusal)
    app.add_middleware(Edge, deps=deps, catalog=catalog)
    return app


def _add_small_routes(app: FastAPI, deps: ApiDependencies) -> None:
    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def ready(_request: Request) -> Response:
        await deps.objects.resource_version()
        trouble = deps.trouble()
        if trouble is not None:
            raise trouble
        return PlainTextResponse("ok")

    async def version(_request: Request) -> Response:
        return Response(msgspec.json.encode(_version(deps.version)), media_type="application/json")

    async def index(_request: Request) -> Response:
        return JSONResponse({"name": "litefleet", "version": deps.version, "paths": _PATHS})

    app.add_route("/", index, include_in_schema=False)
    app.add_route("/version", version, include_in_schema=False)
    app.add_route("/readyz", ready, include_in_schema=False)
    for path in ("/healthz", "/livez"):
        app.add_route(path, healthy, include_in_schema=False)


def _version(litefleet: str) -> dict[str, str]:
    """What kubectl compares its own version with: the Kubernetes release whose conventions are followed."""
    return {
        "major": "1",
        "minor": "36",
        "gitVersion": f"v1.36.0+litefleet.{litefleet}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"python{platform.python_version()}",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }
