"""A real web server on loopback that misbehaves as it is told."""

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Write = Callable[[bytes], Awaitable[None]]


@dataclass
class Asked:
    path: str
    headers: dict[str, str]

    @property
    def start(self) -> int | None:
        """Where the range begins that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else None


@dataclass
class Site:
    """Serves `content` under every path, with an ETag and ranges, unless told otherwise."""

    content: bytes = b""
    etag: str = ""
    ranges: bool = True
    length: bool = True
    cut_after: list[int] = field(default_factory=list)
    """For each of the first answers, how many bytes of the body come before the connection ends."""
    status: list[int] = field(default_factory=list)
    """For each of the first answers, its status instead of a file."""
    more: dict[str, str] = field(default_factory=dict)
    behave: Callable[[Asked, Write], Awaitable[bool]] | None = None
    """Answers instead when it returns true."""
    asked: list[Asked] = field(default_factory=list)
    peers: int = 0
    port: int = 0
    sent: int = 0
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    """Ended with the site: a behaviour may wait for ever."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers += 1
        if (task := asyncio.current_task()) is not None:
            self.connections.add(task)

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                asked = Asked(first.split()[1], headers)
                self.asked.append(asked)
                if self.behave is not None and await self.behave(asked, write):
                    break
                if not await self._answer(asked, write):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if self.cut_after else writer.close()

    async def _answer(self, asked: Asked, write: Write) -> bool:
        if self.status and (status := self.status.pop(0)) != 200:
            await write(head(status, {"Content-Length": "0", **self.more}))
            return True
        tag = self.etag or f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        if asked.headers.get("if-none-match") == tag:
            await write(head(304, {"ETag": tag}))
            return True
        start = asked.start or 0
        partly = self.ranges and asked.start is not None and asked.headers.get("if-range") == tag
        body = self.content[start:] if partly else self.content
        headers = {"ETag": tag, **self.more}
        if self.length:
            headers["Content-Length"] = str(len(body))
        if partly:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        await write(head(206 if partly else 200, headers))
        cut = self.cut_after.pop(0) if self.cut_after else len(body)
        await write(body[:cut])
        self.sent += len(body[:cut])
        return cut >= len(body) and self.length


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def running(site: Site, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in site.connections:
            task.cancel()
        await asyncio.gather(*site.connections, return_exceptions=True)
