"""What a web server's answer means for a download: begin, go on, nothing new, or no. Pure."""

import re
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, Protocol

from litefleet_controller.sources.interface import SourceError
from litefleet_controller.sources.partial import Validator

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_OLD_ENOUGH = timedelta(seconds=60)
"""RFC 9110, 8.8.2.2: a file that changed less than a minute before the answer may change again within the second."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 300.0


class Head(Protocol):
    """An answer without its body."""

    status: int

    def header(self, name: str) -> str:
        """A header's value, empty when it isn't there."""
        ...


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to do with the body."""

    kind: Literal["begin", "go-on", "unchanged", "begin-anew"]
    """begin-anew: this answer is of no use, and neither is what was received before."""
    validator: Validator = Validator()  # noqa: RUF009 - frozen
    total: int | None = None
    """Bytes of the whole file, when it was said."""


def meaning(head: Head, received: int, before: Validator, max_bytes: int, host: str) -> Meaning:
    """What an answer means to who has `received` bytes of the state `before`.

    Raises:
        SourceError: `NotFound`, `AccessDenied`, `TooLarge`, `BadAnswer` or `ServerError`.
    """
    validator = validator_of(head)
    match head.status:
        case 200:
            _check_plain(head, host)
            total = _number(head.header("content-length"))
            check_size(total or 0, max_bytes)
            return Meaning("begin", validator, total)
        case 206:
            _check_plain(head, host)
            return _partly(head, received, before, validator, max_bytes)
        case 304:
            return Meaning("unchanged", validator)
        case 416:
            return Meaning("begin-anew")
        case 404 | 410:
            raise SourceError("NotFound", f"{host} has no such file ({head.status})")
        case 401 | 403 | 407:
            raise SourceError("AccessDenied", f"{host} doesn't give it to this controller ({head.status})")
        case status if status in _BUSY:
            raise SourceError(
                "ServerError",
                f"{host} answers {status}",
                is_passing=True,
                retry_after_s=_wait(head.header("retry-after")),
            )
    raise SourceError("BadAnswer", f"{host} answers {head.status}, which is no file")


def validator_of(head: Head) -> Validator:
    """The strong validators of an answer: weak ones say that something means the same, not that it is the same."""
    etag = head.header("etag")
    modified = head.header("last-modified")
    return Validator(
        etag=etag if etag.startswith('"') and len(etag) < 1024 else "",
        last_modified=modified if _is_settled(modified, head.header("date")) else "",
    )


def check_size(size: int, max_bytes: int) -> None:
    """Refuse what is too large.

    Raises:
        SourceError: `TooLarge`.
    """
    if size > max_bytes:
        raise SourceError(
            "TooLarge",
            f"it has {size} bytes or more; this controller fetches at most {max_bytes}",
            hint="--source-max-bytes of the controller raises that",
        )


def _partly(head: Head, received: int, before: Validator, validator: Validator, max_bytes: int) -> Meaning:
    said = _RANGE.fullmatch(head.header("content-range"))
    # A server that mixes up what it was asked for would splice two files into one.
    same = (not validator.etag or not before.etag or validator.etag == before.etag) and before.header
    if said is None or int(said[1]) != received or not same:
        return Meaning("begin-anew")
    total = None if said[3] == "*" else int(said[3])
    check_size(total or 0, max_bytes)
    if total is not None and int(said[2]) != total - 1:
        return Meaning("begin-anew")
    return Meaning("go-on", before, total)


def _check_plain(head: Head, host: str) -> None:
    encoding = head.header("content-encoding").strip().lower()
    if encoding not in ("", "identity"):
        raise SourceError(
            "BadAnswer",
            f"{host} sends it encoded as {encoding[:20]}, though it was asked for the file as it is",
            hint="have the server, or the object's metadata, say no Content-Encoding",
        )


def _is_settled(modified: str, date: str) -> bool:
    try:
        return bool(modified) and parsedate_to_datetime(date) - parsedate_to_datetime(modified) >= _OLD_ENOUGH
    except (ValueError, TypeError):
        return False


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _wait(text: str) -> float | None:
    seconds = _number(text)
    return None if seconds is None else min(float(seconds), _LONGEST_WAIT_S)
