"""Answers that go on until their time has come: lines of JSON as they come about.

Ends when the lines do, when the client goes away, or when one of `ends` returns: the server stops, the token is
revoked.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from litefleet_controller.api.interface import ApiDependencies

log = structlog.get_logger()
End = Callable[[], Coroutine[Any, Any, object]]
"""Returns when a stream has to end for a reason of its own."""


def ends_of(request: Request, deps: ApiDependencies) -> list[End]:
    """What ends everything that stays open: the server's end, and that whoever asked may no more."""
    person, authenticate = request.state.person, request.state.authenticate

    async def revoked() -> None:
        while True:  # another process may revoke, so there is no event to wait for
            await asyncio.sleep(deps.recheck_s)
            if await authenticate() != person:
                return

    return [revoked, deps.closing.wait]


class StreamedResponse(Response):
    """Sends what `pump` sends.

    An own Response: a generic one can't end for reasons that have nothing to do with the stream, nor notice a client
    that is silent and gone.
    """

    def __init__(self, ends: Sequence[End], timeout_s: float | None = None) -> None:
        super().__init__(media_type="application/json", headers={"Cache-Control": "no-cache, private"})
        del self.headers["content-length"]
        self._ends = ends
        self._timeout_s = timeout_s

    async def pump(self, send: Send) -> None:
        """Send the stream; it ends when this returns."""
        raise NotImplementedError

    def beside(self, send: Send) -> Sequence[Coroutine[Any, Any, None]]:  # noqa: ARG002 - for those who send more
        """What else is sent meanwhile; the stream doesn't end with it."""
        return ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send(part(b""))  # an empty part makes the server send the headers now, not with the first line
        ending = [
            asyncio.create_task(self.pump(send), name="stream-pump"),
            asyncio.create_task(_gone(receive), name="stream-gone"),
            *(asyncio.create_task(end(), name="stream-end") for end in self._ends),
        ]
        tasks = [*ending, *(asyncio.create_task(more, name="stream-beside") for more in self.beside(send))]
        try:
            await asyncio.wait(ending, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        fault = ended[0]
        if isinstance(fault, Exception) and not isinstance(fault, OSError):
            log.error("stream_failed", path=scope.get("path"), exc_info=fault)
        with contextlib.suppress(OSError):
            await send(part(b"", more=False))


class LinesResponse(StreamedResponse):
    """Lines as they come about."""

    def __init__(self, parts: AsyncIterator[bytes], ends: Sequence[End]) -> None:
        super().__init__(ends)
        self._parts = parts

    async def pump(self, send: Send) -> None:
        """Send them."""
        async for lines in self._parts:
            await send(part(lines))


def part(body: bytes, *, more: bool = True) -> dict[str, object]:
    """A piece of the body, as ASGI sends it."""
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
