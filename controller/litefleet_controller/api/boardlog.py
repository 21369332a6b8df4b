"""The fleet API's route to the boards' logs, as `kubectl logs` would have it: the end, since when, and follow."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.streaming import LinesResponse, ends_of
from litefleet_controller.fleet.boardlog import MAX_LINES, BoardLog

Authorize = Callable[[Request, str, str, str | None, str], Any]
"""(request, verb, resource, namespace, name); raises when whoever asks may not."""


def add_board_log(router: APIRouter, authorize: Authorize, boardlog: BoardLog, api: ApiDependencies) -> None:
    """The route."""

    @router.get("/namespaces/{namespace}/devices/{name}/log")
    async def log(
        request: Request,
        namespace: Annotated[str, Path(max_length=63)],
        name: Annotated[str, Path(max_length=63)],
        tail: Annotated[int | None, Query(ge=0, le=MAX_LINES, description="Only the last so many.")] = None,
        since: Annotated[AwareDatetime | None, Query(description="Only what happened then or later.")] = None,
        after: Annotated[
            int | None, Query(ge=0, lt=2**63, description="Only what follows the entry with this id.")
        ] = None,
        follow: Annotated[bool, Query(description="Go on, an entry a line, as they come.")] = False,
    ) -> Response:
        """A board's own log, oldest entry first: `items`, or lines that go on."""
        authorize(request, "get", "devices/log", namespace, name)
        known = after if after is not None else await boardlog.last_id(namespace, name)
        items = await boardlog.lines(namespace, name, tail=tail, since=since, after=after)
        if not follow:
            return Response(msgspec.json.encode({"items": items}), media_type="application/json")
        on_from = items[-1]["id"] if items else known

        async def parts() -> AsyncIterator[bytes]:
            yield _lines(items)
            async for more in boardlog.follow(namespace, name, on_from):
                yield _lines(more)

        return LinesResponse(parts(), ends_of(request, api))


def _lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)
