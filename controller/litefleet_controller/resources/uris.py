"""Where a model or a data set may come from, as a manifest says it. Pure: nothing is looked up.

Whether this controller fetches from there is its operator's choice and decided later (sources/policy.py). Credentials
have no place in a manifest, which everybody with the role of a viewer reads.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from litefleet_controller.resources.causes import FieldError
from litefleet_protocol.names import is_digest

MAX_URI = 2048

_PORTS = {"http": 80, "https": 443}
_SCHEMES = "https://, http://, s3://BUCKET/KEY, file:///PATH, or blob://, which 'litefleet model push FILE' prints"
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SIGNED = frozenset(
    {"x-amz-signature", "x-amz-security-token", "x-goog-signature", "sig", "signature", "awsaccesskeyid"}
)
"""Parameters that let whoever holds the URL in: of S3, Google Cloud Storage and Azure."""


@dataclass(frozen=True, slots=True)
class BlobUri:
    """What was pushed."""

    digest: str


@dataclass(frozen=True, slots=True)
class FileUri:
    """A file on the controller's machine."""

    path: str


@dataclass(frozen=True, slots=True)
class HttpUri:
    """A file on a web server."""

    scheme: str
    host: str
    """Lower case, without the brackets of an IPv6 address."""
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """Host and port; a port that is the scheme's own is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The URI."""
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True)
class S3Uri:
    """An object in a bucket."""

    bucket: str
    key: str


Uri = BlobUri | FileUri | HttpUri | S3Uri


def parse_uri(text: str) -> Uri:
    """A URI's parts.

    Raises:
        FieldError: `InvalidUri` or `CredentialsInManifest`.
    """
    if len(text) > MAX_URI or not text.isascii() or not text.isprintable() or " " in text:
        raise _invalid(
            text, f"a URI has at most {MAX_URI} printable ASCII characters and no spaces; encode others as %XX"
        )
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise _invalid(text, f"use {_SCHEMES}")
    match scheme.lower():
        case "blob":
            return _blob(text)
        case "file":
            return _file(text)
        case "http" | "https":
            uri = parse_http(text)
            _check_unsigned(uri)
            return uri
        case "s3":
            return _s3(text)
    raise _invalid(text, f"{scheme[:20]}:// isn't fetched; use {_SCHEMES}")


def parse_http(text: str) -> HttpUri:
    """An http or https URL's parts, signed ones too: servers send on to such.

    Raises:
        FieldError: `InvalidUri` or `CredentialsInManifest`, for a user name in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise _invalid(text, str(e)) from e
    _check_user(text, parts.netloc)
    host = (parts.netloc.rpartition("@")[2]).lower()
    host = re.sub(r":\d*$", "", host).rstrip(".")
    if not _HOST.fullmatch(host) or len(host) > 255:
        raise _invalid(text, "it has no host that can be looked up (other scripts are written as xn--...)")
    if parts.fragment:
        raise _invalid(text, "what follows # is never sent; leave it out")
    if port == 0:
        raise _invalid(text, "there is no port 0")
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise _invalid(text, "it is neither http nor https")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HttpUri(scheme, host.strip("[]"), port or _PORTS[scheme], target)


def _check_user(text: str, netloc: str) -> None:
    if "@" in netloc:
        raise _secret(text.partition("://")[0], netloc, "a user name before @")


def _check_unsigned(uri: HttpUri) -> None:
    names = {name.lower() for name, _ in parse_qsl(uri.target.partition("?")[2], keep_blank_values=True)}
    if signed := sorted(_SIGNED & names):
        raise _secret(uri.scheme, uri.authority, f"the parameter {signed[0]}")


def _secret(scheme: str, netloc: str, where: str) -> FieldError:
    return FieldError(
        "CredentialsInManifest",
        f"the URI on {scheme}://{netloc.rpartition('@')[2][:80]} has {where}: credentials don't belong in a manifest, "
        "which every viewer reads; give them to the controller (docs/sources.md)",
    )


def _blob(text: str) -> BlobUri:
    digest = text.removeprefix("blob://")
    if not is_digest(digest):
        raise _invalid(text, "upload the file with 'litefleet model push FILE' and use the URI it prints")
    return BlobUri(digest)


def _file(text: str) -> FileUri:
    host, _, path = text[len("file://") :].partition("/")
    path = unquote(f"/{path}")
    if host not in ("", "localhost") or "\0" in path or path.endswith("/") or ".." in path.split("/"):
        raise _invalid(text, "a file's URI is file:///ABSOLUTE/PATH, without .., on the controller's machine")
    return FileUri(path)


def _s3(text: str) -> S3Uri:
    bucket, _, key = text[len("s3://") :].partition("/")
    _check_user(text, bucket)
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise _invalid(text, "a bucket's name has 3 to 63 of a-z, 0-9, - and .")
    key = unquote(key)
    if not key or "\0" in key or len(key.encode()) > 1024 or any(p in ("", ".", "..") for p in key.split("/")):
        raise _invalid(text, "an object's URI is s3://BUCKET/KEY, and no part of the key is empty, . or ..")
    return S3Uri(bucket, key)


def _invalid(text: str, why: str) -> FieldError:
    return FieldError("InvalidUri", f"{text[:80]!r} can't be fetched: {why}")
