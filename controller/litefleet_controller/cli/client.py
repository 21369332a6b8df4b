"""HTTP to a controller: a thin client that turns every failure into one `CliError`.

Speaks the Kubernetes REST conventions (Status objects, newline-delimited watches) and the fleet API beside it.
"""

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx

from litefleet_controller.cli.errors import CliError, FieldCause
from litefleet_controller.cli.kubeconfig import Target

Json = dict[str, Any]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_ENDLESS = httpx.Timeout(30.0, connect=10.0, read=None)


class Client:
    """One controller, one person. Use as a context manager."""

    def __init__(self, target: Target) -> None:
        self.target = target
        headers = {"User-Agent": "litefleet-cli", "Accept": "application/json"}
        if target.token:
            headers["Authorization"] = f"Bearer {target.token}"
        self._http = httpx.Client(
            base_url=target.server,
            verify=target.tls() if target.server.startswith("https://") else True,
            headers=headers,
            timeout=_TIMEOUT,
            # A proxy named in the environment is for the web, not for the fleet's own controller.
            trust_env=False,
        )
        self._extensions = {"sni_hostname": target.tls_server_name} if target.tls_server_name else {}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, *, params: Mapping[str, str] | None = None, accept: str = "application/json") -> Json:
        """The JSON at `path`.

        Raises:
            CliError: whatever went wrong.
        """
        return self._json("GET", path, params=params, headers={"Accept": accept})

    def post(self, path: str, body: Json, *, params: Mapping[str, str] | None = None) -> Json:
        """Create."""
        return self._json("POST", path, params=params, json=body)

    def patch(self, path: str, body: Json, *, params: Mapping[str, str] | None = None) -> Json:
        """Merge patch."""
        content = json.dumps(body).encode()
        return self._json("PATCH", path, params=params, content=content, headers={"Content-Type": MERGE_PATCH})

    def delete(self, path: str) -> Json:
        """Delete."""
        return self._json("DELETE", path)

    def upload(self, path: str, pieces: Iterable[bytes], size: int, *, params: Mapping[str, str]) -> Json:
        """POST a body of `size` bytes as it is read."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        # No read limit: the answer comes after the server has checked and stored the whole file.
        return self._json("POST", path, params=params, content=pieces, headers=headers, timeout=_ENDLESS)

    def download(self, path: str) -> bytes:
        """The bytes at `path`, whole.

        Raises:
            CliError: whatever went wrong.
        """
        return self._answer("GET", path).content

    def lines(self, path: str, *, params: Mapping[str, str], accept: str = "application/json") -> Iterator[Json]:
        """The events of a watch, until the server ends it or the caller stops reading.

        Raises:
            CliError: also for an `ERROR` event.
        """
        opened = False
        try:
            request = self._http.build_request(
                "GET",
                path,
                params=dict(params),
                headers={"Accept": accept},
                timeout=_ENDLESS,
                extensions=self._extensions,
            )
            response = self._http.send(request, stream=True)
            try:
                if response.status_code >= 400:
                    response.read()
                    raise _refusal(response)
                opened = True
                for line in response.iter_lines():
                    event: Json = json.loads(line)
                    if event.get("type") == "ERROR":
                        raise from_status(event.get("object") or {}, None)
                    yield event
            finally:
                response.close()
        except httpx.HTTPError as e:
            # A connection that breaks in mid-watch is to the caller a watch that ended.
            if not (opened and isinstance(e, httpx.RemoteProtocolError | httpx.ReadError)):
                raise self._unreachable(e) from e
        except ValueError as e:
            raise self._not_litefleet() from e

    def _json(self, method: str, path: str, **kwargs: Any) -> Json:
        answer = self._answer(method, path, **kwargs)
        try:
            body = answer.json()
        except ValueError as e:
            raise self._not_litefleet() from e
        if not isinstance(body, dict):
            raise self._not_litefleet()
        return body

    def _answer(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, extensions=self._extensions, **kwargs)
        except httpx.HTTPError as e:
            raise self._unreachable(e) from e
        if response.status_code >= 400:
            raise _refusal(response)
        return response

    def _unreachable(self, error: httpx.HTTPError) -> CliError:
        where = f"{self.target.server} (from {str(self.target.source)!r})"
        if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error) or "SSL" in str(error):
            return CliError(
                f"{where} did not prove its identity: {error}",
                "UntrustedServer",
                hint="the kubeconfig may be of another installation; take the one that the running controller wrote",
            )
        if isinstance(error, httpx.ConnectError):
            return CliError(
                f"no controller answers at {where}: {error}",
                "Unreachable",
                hint="is it running? 'litefleet up' starts one",
            )
        if isinstance(error, httpx.TimeoutException):
            return CliError(f"{where} did not answer in time", "Timeout")
        return CliError(f"the connection to {where} broke: {error or type(error).__name__}", "Unreachable")

    def _not_litefleet(self) -> CliError:
        return CliError(
            f"{self.target.server} (from {str(self.target.source)!r}) answers, but not as a litefleet controller",
            "NotLitefleet",
        )


def _refusal(response: httpx.Response) -> CliError:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return from_status(body, response.status_code)
    text = " ".join(response.text.split())[:200]
    return CliError(
        f"the server answered {response.status_code}: {text}",
        _REASONS.get(response.status_code, "ServerError"),
        http_status=response.status_code,
    )


_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 413: "TooLarge", 503: "Unavailable"}


def from_status(body: Json, http_status: int | None) -> CliError:
    """A Kubernetes Status as an error: litefleet's code where a cause has one, else the reason."""
    details = body.get("details") or {}
    causes = tuple(
        FieldCause(str(c.get("field") or ""), str(c.get("message") or ""), str(c.get("code") or c.get("reason") or ""))
        for c in details.get("causes") or []
    )
    message = str(body.get("message") or "the server refused without a reason")
    hint = str(details.get("hint") or "")
    if http_status == 401 and not causes:
        message = "the server doesn't know who asks"
        hint = "the token in the kubeconfig is missing, expired or revoked"
    return CliError(message, str(body.get("reason") or "Error"), hint=hint, causes=causes, http_status=http_status)
