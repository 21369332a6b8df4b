"""A poor link between boards and the broker: a TCP proxy that is slow, and that cuts connections in mid-transfer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

_PIECE = 4096


class PoorLink:
    """Forwards bytes to `port`. `budgets` are the bytes towards the client after which each connection is cut."""

    def __init__(self, port: int, budgets: Iterator[int], bytes_per_s: float | None) -> None:
        self._port = port
        self._budgets = budgets
        self._bytes_per_s = bytes_per_s
        self.forwarded = 0
        """Bytes towards clients, all connections together."""
        self.cuts = 0
        self._open: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def ended(self) -> None:
        """End all connections."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it is cut or either side ends it."""
        upstream, to_broker = await asyncio.open_connection("127.0.0.1", self._port, limit=_PIECE)
        up = asyncio.create_task(_pump(reader, to_broker))
        try:
            await self._down(upstream, writer, next(self._budgets, None))
        finally:
            up.cancel()
            for side in (writer, to_broker):
                side.transport.abort()
            await asyncio.gather(up, return_exceptions=True)

    async def _down(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        passed = 0
        due = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            while data := await upstream.read(_PIECE):
                if budget is not None and passed + len(data) > budget:
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()
                passed += len(data)
                self.forwarded += len(data)
                if self._bytes_per_s is not None:
                    due = max(due, asyncio.get_running_loop().time() - 0.05) + len(data) / self._bytes_per_s
                    await asyncio.sleep(due - asyncio.get_running_loop().time())


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def poor_link(
    port: int, budgets: Iterator[int], bytes_per_s: float | None
) -> AsyncIterator[tuple[int, PoorLink]]:
    """The port that boards connect to, and what it did."""
    link = PoorLink(port, budgets, bytes_per_s)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], link
    finally:
        server.close()
        await link.ended()
