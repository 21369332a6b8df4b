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
from litefleet_controller.resources.manifest import parse_documents

MAX_BYTES = 3 * 1024 * 1024
"""What etcd and the API server let through by default, in bytes."""
JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
OBJECT_TYPES = (JSON_TYPE, YAML_TYPE)
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH)
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


async def read_object(request: Request, *, with_protobuf: bool = False) -> Decoded:
    """An object in JSON, YAML, or (for what kubectl sends so) protobuf.

    Raises:
        ApiError: 400, 413, 415.
        ManifestError: the YAML is not acceptable.
    """
    kind = media_type(request)
    accepted = (*OBJECT_TYPES, PROTOBUF_TYPE) if with_protobuf else OBJECT_TYPES
    if kind not in accepted:
        raise unsupported_media_type(accepted)
    data = await read(request)
    if kind == PROTOBUF_TYPE:
        return Decoded(protobuf.decode(data))
    # A megabyte of YAML takes seconds to parse: in a thread, so that others are answered meanwhile.
    decoded = await asyncio.to_thread(_decode_yaml, data) if kind == YAML_TYPE else decode_json(data)
    if not isinstance(decoded.value, dict):
        raise _unreadable("TypeError", f"the body must be an object, not {_type_name(decoded.value)}")
    return decoded


def _decode_yaml(data: bytes) -> Decoded:
    documents = parse_documents(data, source_name="body", max_bytes=MAX_BYTES)
    if len(documents) != 1:
        raise _unreadable("TypeError", f"the body must hold one document, not {len(documents)}")
    _check_text(documents[0])
    return Decoded(documents[0])


def decode_json(data: bytes) -> Decoded:
    """Any JSON value.

    Raises:
        ApiError: 400, saying where it is broken.
    """
    if not data.strip():
        raise _unreadable("EmptyDocument", "the body is empty: an object in JSON is expected")
    try:
        value = json.loads(data, object_pairs_hook=_Pairs)
    except RecursionError as e:
        raise _too_deep() from e
    except UnicodeDecodeError as e:
        raise _unreadable("NotUtf8", f"the body is not UTF-8: {e.reason} at byte {e.start}") from e
    except json.JSONDecodeError as e:
        raise _unreadable("JsonSyntax", f"json parse error: {e.msg} at line {e.lineno} column {e.colno}") from e
    except ValueError as e:
        raise _unreadable("JsonSyntax", f"json parse error: {e}") from e
    plainer = _Plainer()
    plain = plainer.plain(value, "", 0)
    if b"\\ud" in data.lower():
        _check_text(plain)
    return Decoded(plain, tuple(plainer.duplicates))


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
