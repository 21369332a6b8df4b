"""An HTTPS server inside a running event loop, under the control of whoever composes the program.

uvicorn's own `run` would install signal handlers and end the process when a port is taken; neither is its business
here. Stopping first lets open watches end (see `before_stop`), then waits a short while for answers in progress.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp


class ServerError(Exception):
    """The server can't be started; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of the server's certificate chain and its key."""

    chain: Path
    key: Path


class _Uvicorn(uvicorn.Server):
    """Without signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Serves `app` on one address, with TLS when a certificate is given. Port 0 takes a free one."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        before_stop: Callable[[], None] = lambda: None,
        grace_s: float = 3.0,
    ) -> None:
        self._host = host
        self._port = port
        self._before_stop = before_stop
        self._task: asyncio.Task[None] | None = None
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                ssl_certfile=certificate.chain if certificate else None,
                ssl_keyfile=certificate.key if certificate else None,
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(grace_s)),
                ws="none",
            )
        )

    async def start(self) -> tuple[str, int]:
        """Serve from now on; the address.

        Raises:
            ServerError: the address can't be listened on.
        """
        listening = self._bind()
        address: tuple[str, int] = listening.getsockname()[:2]
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="http-server")
        while not self._server.started:
            if self._task.done():
                listening.close()
                self._task.result()
                raise ServerError(f"the HTTP server ended while it was starting on {address[0]}:{address[1]}")
            await asyncio.sleep(0.005)
        return address

    async def stop(self) -> None:
        """End open watches, finish what is in progress, close. Twice is once."""
        self._before_stop()
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        for connection in list(self._server.server_state.connections):
            # TLS that both sides close at once may wait for a farewell that never comes.
            transport: asyncio.Transport | None = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()

    async def wait(self) -> None:
        """Until it ends."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named because asyncio sets TCP_NODELAY only then. Without it, a client's delayed
        # acknowledgement adds 40 ms to every answer on a connection that is kept open.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
        except OSError as e:
            listening.close()
            raise ServerError(
                f"can't listen on {self._host}:{self._port}: {e.strerror or e}; "
                "choose another port or stop what uses it"
            ) from e
        listening.setblocking(False)
        return listening
