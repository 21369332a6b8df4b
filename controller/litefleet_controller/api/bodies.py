"""What a client sent, read and decoded once: limits, media types, JSON, YAML and protobuf.

JSON is decoded with the standard library, because it alone can tell a key that is given twice. What could not be
written out again (Infinity, half a surrogate pair) is refused here, before it reaches anything that stores.
"""

import asyncio
import json
import math
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from litefleet_controller.api import protobuf
from litefleet_controller.api.errors import (
    ApiError,
    StatusCause,
    bad_request,
    too_large,
    unsupported_media_type,
)
from litefleet_controller.resources.manifest import ManifestError, parse_documents

MAX_BYTES = 3 * 1024 * 1024
"""What etcd and the API server let through by default, in bytes."""
JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
OBJECT_TYPES = (JSON_TYPE, YAML_TYPE)
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
"""For Kubernetes' own kinds only."""
_MAX_DEPTH = 64
_MAX_VALUES = 50_000
"""Values in one body. An object has some thousand; many more would only keep the server from answering others."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body and the names of keys that it gives twice, as paths; the last of each counts."""

    value: Any
    duplicates: tuple[str, ...] = ()


async def read(request: Request, limit: int = MAX_BYTES) -> bytes:
    """The body.

    Raises:
        ApiError: 413, it is larger than `limit` bytes; 400, the client went away.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and int(declared[:12]) > limit:
        raise too_large(limit)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
    except ClientDisconnect as e:
        raise bad_request("the client went away before the body was complete") from e
    return b"".join(parts)


def media_type(request: Request, default: str = JSON_TYPE) -> str:
    """Content-Type without parameters."""
    return request.headers.get("content-type", default).partition(";")[0].strip().lower() or default


async def read_object(request: Request, *, kind: str = "", with_protobuf: bool = False) -> Decoded:
    """An object in JSON, YAML, or (for what kubectl sends so) protobuf.

    Raises:
        ApiError: 400, 413, 415.
        ManifestError: the YAML is not acceptable.
    """
    media = media_type(request)
    if media not in ((*OBJECT_TYPES, PROTOBUF_TYPE) if with_protobuf else OBJECT_TYPES):
        raise unsupported_media_type((*OBJECT_TYPES, PROTOBUF_TYPE))
    data = await read(request)
    if media == PROTOBUF_TYPE:
        return Decoded(protobuf.decode(data))
    # A megabyte of YAML takes seconds to parse: in a thread, so that others are answered meanwhile.
    decoded = (
        await asyncio.to_thread(_decode_yaml, data) if media == YAML_TYPE else decode_json(data, *_around(kind, data))
    )
    if not isinstance(decoded.value, dict):
        raise _unreadable("TypeError", f"the body must be an object, not {_type_name(decoded.value)}")
    if kind and not decoded.value.get("kind"):
        raise _without_kind(kind, data)
    return decoded


def _without_kind(kind: str, data: bytes) -> ApiError:
    """In Kubernetes' words, which repeat the body; a long one is cut."""
    text = data[:_REPEATED].decode("utf-8", "replace") + (" ..." if len(data) > _REPEATED else "")
    said = f"Object 'Kind' is missing in '{text}' {_quoted(data)}"
    cause = StatusCause("FieldValueRequired", f"Required value: write kind: {kind}", "kind", "Required")
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {said}", [cause])


_REPEATED = 500


async def read_applied(request: Request) -> Decoded:
    """An applied object: YAML, of which JSON is a part that most clients send.

    Raises:
        ApiError: 400, 413.
    """
    data = await read(request)
    try:
        decoded = decode_json(data) if _is_json(data) else await asyncio.to_thread(_decode_yaml, data)
    except ManifestError as e:
        raise bad_request(f"error decoding YAML: {e}") from e
    if not isinstance(decoded.value, dict):
        raise bad_request(f"the body must be an object, not {_type_name(decoded.value)}")
    return decoded


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except RecursionError:
        return True  # decode_json says so
    except ValueError:
        return False
    return True


def _decode_yaml(data: bytes) -> Decoded:
    documents = parse_documents(data, source_name="body", max_bytes=MAX_BYTES)
    if len(documents) != 1:
        raise _unreadable("TypeError", f"the body must hold one document, not {len(documents)}")
    _check_text(documents[0])
    return Decoded(documents[0])


def _around(kind: str, data: bytes) -> tuple[str, str]:
    """What stands before and after a parse error in the answer to a write of a `kind`, as Kubernetes words it."""
    if not kind:
        return "json parse error: ", ""
    unrecognized = f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
    return f"{unrecognized}json parse error: ", f" {_quoted(data)}"


def _quoted(data: bytes) -> str:
    start = data[:_QUOTED].decode("utf-8", "replace")
    return f"({start} ...)" if len(data) > _QUOTED else f"({start or '<empty>'})"


_QUOTED = 30
"""Bytes of a broken body that are repeated."""


def decode_json(data: bytes, before: str = "json parse error: ", after: str = "") -> Decoded:
    """Any JSON value. `before` and `after` stand around a parse error in the message.

    Raises:
        ApiError: 400, saying where it is broken.
    """
    try:
        value = json.loads(data, object_pairs_hook=_Pairs)
    except RecursionError as e:
        raise _too_deep() from e
    except UnicodeDecodeError as e:
        raise _unreadable("NotUtf8", f"the body is not UTF-8: {e.reason} at byte {e.start}") from e
    except json.JSONDecodeError as e:
        raise _unreadable("JsonSyntax" if data.strip() else "EmptyDocument", f"{before}{_broken(e)}{after}") from e
    except ValueError as e:
        raise _unreadable("JsonSyntax", f"{before}{e}{after}") from e
    plainer = _Plainer()
    plain = plainer.plain(value, "", 0)
    if b"\\ud" in data.lower():
        _check_text(plain)
    return Decoded(plain, tuple(plainer.duplicates))


_LOOKING_FOR = {"Expecting value": "value", "Expecting property name enclosed in double quotes": "object key string"}


def _broken(error: json.JSONDecodeError) -> str:
    """Where the JSON ends to be JSON; in Kubernetes' words for what people meet most."""
    if not error.doc[error.pos :].strip():
        return "unexpected end of JSON input"
    wanted = _LOOKING_FOR.get(error.msg)
    place = f" at line {error.lineno} column {error.colno}"
    if wanted is None:
        return error.msg + place
    return f"invalid character {error.doc[error.pos]!r} looking for beginning of {wanted}"


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they were written, so that repeated keys can still be seen."""


class _Plainer:
    """Turns `_Pairs` into dicts, counts, refuses what isn't a finite number, and notes keys that are given twice."""

    def __init__(self) -> None:
        self.duplicates: dict[str, None] = {}
        self._values = 0

    def plain(self, value: Any, path: str, depth: int) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise _unreadable("TooLarge", f"the body holds more than {_MAX_VALUES} values")
        if depth > _MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, _Pairs):
            result: dict[str, Any] = {}
            for key, inner in value:
                place = f"{path}.{key}" if path else key
                if key in result:
                    self.duplicates[place] = None
                result[key] = self.plain(inner, place, depth + 1)
            return result
        if isinstance(value, list):
            return [self.plain(inner, f"{path}[{i}]", depth + 1) for i, inner in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            # NaN and Infinity, which are not JSON, and numbers that no float holds.
            raise _unreadable("OutOfRange", "the number is out of range: it must be finite", path)
        return value


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:
        raise _unreadable("NotUtf8", "the body holds half of a surrogate pair, which is not text") from e


def _too_deep() -> ApiError:
    return _unreadable("TooDeep", f"the body is nested more than {_MAX_DEPTH} levels deep")


def _unreadable(code: str, message: str, place: str = "") -> ApiError:
    return bad_request(f"{place}: {message}" if place else message, [StatusCause(code, message, place, code)])


def _type_name(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
