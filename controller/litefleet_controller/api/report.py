"""The fleet API's route to what a version of a model was made into, and why."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.fleet.report import Reports

Authorize = Callable[[Request, str, str, str | None, str], Any]
"""(request, verb, resource, namespace, name); raises when whoever asks may not."""


def add_report(router: APIRouter, authorize: Authorize, reports: Reports) -> None:
    """The route."""

    @router.get("/namespaces/{namespace}/models/{name}/report")
    async def report(
        request: Request,
        namespace: Annotated[str, Path(max_length=63)],
        name: Annotated[str, Path(max_length=253)],
        version: Annotated[
            str | None, Query(max_length=253, description="A number or a ModelVersion's name; the newest by default.")
        ] = None,
    ) -> Response:
        """What each class got of a version, out of which candidates, and how each of them answers."""
        authorize(request, "get", "models", namespace, name)
        found = await reports.report(namespace, name, version)
        return Response(msgspec.json.encode(found), media_type="application/json")
