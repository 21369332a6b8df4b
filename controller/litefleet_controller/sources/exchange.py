"""One question to a web server and its answer's head, redirects included: where it may go, and how long it may take.

Nothing is decoded on the way: a digest speaks of bytes. HTTP/1.1 only, no cookies, no proxies, no credentials.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpcore

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.uris import HttpUri, parse_http
from litefleet_controller.sources.interface import SourceError
from litefleet_controller.sources.network import CheckedBackend, Resolve
from litefleet_controller.sources.policy import SourcePolicy

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the other side may take."""

    connect_s: float = 10.0
    silence_s: float = 30.0
    """Without a byte."""
    window_s: float = 60.0
    window_bytes: int = 64 * 1024
    """What has to come in each window: less than that would take days, and holds a connection meanwhile."""
    tries: int = 5
    """In a row, each of which brought less than that."""
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0


class Answer:
    """An answer whose body hasn't been read yet."""

    def __init__(self, response: httpcore.Response, uri: HttpUri) -> None:
        self._response = response
        self._headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
        self.status: int = response.status
        self.uri = uri

    def header(self, name: str) -> str:
        """A header's value, empty when it isn't there."""
        return self._headers.get(name, "")

    async def pieces(self, patience: Patience) -> AsyncIterator[bytes]:
        """The body.

        Raises:
            SourceError: `Cut`, `Timeout` or `TooSlow`, all passing.
        """
        loop = asyncio.get_running_loop()
        since, came = loop.time(), 0
        with _plainly(self.uri.host, patience):
            async for piece in self._response.aiter_stream():
                came += len(piece)
                yield piece
                if loop.time() - since >= patience.window_s:
                    if came < patience.window_bytes:
                        raise SourceError(
                            "TooSlow",
                            f"{self.uri.host} sent {came} bytes in {loop.time() - since:.0f} s; "
                            f"the least is {patience.window_bytes} in {patience.window_s:.0f} s",
                            is_passing=True,
                        )
                    since, came = loop.time(), 0


class Exchange:
    """Asks web servers."""

    def __init__(self, policy: SourcePolicy, tls: ssl.SSLContext, patience: Patience, resolve: Resolve) -> None:
        self._policy = policy
        self._tls = tls
        self._patience = patience
        self._resolve = resolve

    @asynccontextmanager
    async def get(
        self, uri: HttpUri, headers: dict[str, str], policy: SourcePolicy | None = None
    ) -> AsyncIterator[Answer]:
        """The answer to a GET, after redirects. `policy`: instead of the usual one; redirects are not followed then.

        Raises:
            SourceError: `HostNotAllowed`, `AddressNotAllowed`, `Unreachable`, `Timeout`, `TlsFailed`, `Cut`,
                `TooManyRedirects`.
        """
        backend = CheckedBackend(policy or self._policy, self._resolve)
        async with httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
            for _ in range(_MAX_HOPS + 1):
                check_host(policy or self._policy, uri)
                async with self._ask(pool, uri, headers) as answer:
                    if policy is not None or answer.status not in _REDIRECTS:
                        yield answer
                        return
                    uri = _next(uri, answer.header("location"))
        raise SourceError("TooManyRedirects", f"it was sent on more than {_MAX_HOPS} times, last to {uri.host}")

    @asynccontextmanager
    async def _ask(
        self, pool: httpcore.AsyncConnectionPool, uri: HttpUri, headers: dict[str, str]
    ) -> AsyncIterator[Answer]:
        p = self._patience
        times = {"connect": p.connect_s, "pool": p.connect_s, "read": p.silence_s, "write": p.silence_s}
        every = {"Host": uri.authority, "User-Agent": "litefleet", "Accept": "*/*", "Accept-Encoding": "identity"}
        lines = list((every | headers).items())
        request = httpcore.Request("GET", uri.text, headers=lines, extensions={"timeout": times})
        with _plainly(uri.host, p):
            response = await pool.handle_async_request(request)
        try:
            yield Answer(response, uri)
        finally:
            await response.aclose()


def check_host(policy: SourcePolicy, uri: HttpUri) -> None:
    """Refuse a host that isn't listed.

    Raises:
        SourceError: `HostNotAllowed`.
    """
    if not policy.allows_host(uri.host, uri.port):
        port = "" if uri.port in (80, 443) else f":{uri.port}"
        raise SourceError(
            "HostNotAllowed",
            f"this controller doesn't fetch from {uri.host}{port}",
            final=True,
            hint=f"start it with --source-host {uri.host}{port}, or push the file with 'litefleet model push FILE'",
        )


def _next(uri: HttpUri, location: str) -> HttpUri:
    try:
        to = parse_http(urljoin(uri.text, location.split("#", maxsplit=1)[0]))
    except (FieldError, ValueError) as e:
        raise SourceError("BadAnswer", f"{uri.host} sends on to {location[:80]!r}, which is no URL to fetch") from e
    if (uri.scheme, to.scheme) == ("https", "http"):
        raise SourceError("TlsFailed", f"{uri.host} sends on from https to http, to {to.host}")
    return to


@contextmanager
def _plainly(host: str, patience: Patience) -> Iterator[None]:
    """Turns httpcore's errors into ours."""
    try:
        yield
    except (httpcore.ConnectTimeout, httpcore.PoolTimeout) as e:
        raise SourceError("Timeout", f"{host} can't be reached in {patience.connect_s:g} s", is_passing=True) from e
    except (httpcore.TimeoutException, TimeoutError) as e:
        raise SourceError("Timeout", f"{host} said nothing for {patience.silence_s:g} s", is_passing=True) from e
    except httpcore.ConnectError as e:
        if isinstance(root := _root(e), ssl.SSLError):
            raise SourceError(
                "TlsFailed",
                f"there is no safe connection to {host} ({_reason(root)})",
                hint="if it has a certificate of its own authority, start the controller with --source-ca FILE",
            ) from e
        raise SourceError("Unreachable", f"{host} can't be reached ({str(e)[:120]})", is_passing=True) from e
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as e:
        said = str(e)[:120] or type(e).__name__
        raise SourceError("Cut", f"{host} broke off ({said})", is_passing=True) from e


def _root(error: BaseException) -> BaseException:
    """The innermost cause: what the system said."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _reason(error: BaseException) -> str:
    return str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)[:160]
