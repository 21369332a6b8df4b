r"""Decodes the few messages that kubectl sends as protobuf, and encodes a refusal for who reads nothing else.

The envelope is `k8s\0` and a runtime.Unknown; the messages' field numbers are those of k8s.io/api `generated.proto`.
Messages are Namespace and the questions about oneself; fields that aren't listed here are skipped. Other answers are
JSON, which kubectl accepts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from litefleet_controller.api.errors import bad_request

MAGIC = b"k8s\x00"
Message = dict[int, tuple[str, "Message | str"]]
"""Field number -> (name, nested message, or `str`, `list` of strings, or `map` of strings)."""

_METADATA: Message = {
    1: ("name", "str"),
    2: ("generateName", "str"),
    3: ("namespace", "str"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
    14: ("finalizers", "list"),
}
_RESOURCE: Message = {
    number: (name, "str")
    for number, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), 1)
}
_PATH: Message = {1: ("path", "str"), 2: ("verb", "str")}
_MESSAGES: dict[str, Message] = {
    "Namespace": {1: ("metadata", _METADATA)},
    "SelfSubjectAccessReview": {
        1: ("metadata", _METADATA),
        2: ("spec", {1: ("resourceAttributes", _RESOURCE), 2: ("nonResourceAttributes", _PATH)}),
    },
    "SelfSubjectRulesReview": {1: ("metadata", _METADATA), 2: ("spec", {1: ("namespace", "str")})},
    "SelfSubjectReview": {1: ("metadata", _METADATA)},
}
KINDS = frozenset(_MESSAGES)
"""What can be decoded."""
_UNKNOWN: Message = {1: ("type", {1: ("apiVersion", "str"), 2: ("kind", "str")}), 2: ("raw", "bytes")}


def decode(data: bytes) -> dict[str, Any]:
    """The object in an envelope, as JSON has it.

    Raises:
        ApiError: 400, it is no such envelope or none of the messages above.
    """
    if not data.startswith(MAGIC):
        raise bad_request("the body is not in Kubernetes' protobuf form: it doesn't begin with 'k8s\\0'")
    try:
        envelope = _message(data[len(MAGIC) :], _UNKNOWN)
        kind = envelope.get("type", {}).get("kind", "")
        if kind not in _MESSAGES:
            raise bad_request(f"no protobuf form of kind {kind[:60]!r} is known here; send application/json")
        return {**envelope["type"], **_message(envelope.get("raw", b""), _MESSAGES[kind])}
    except (IndexError, UnicodeDecodeError) as e:
        raise bad_request(f"the body is broken protobuf: {e}") from e


def encode_status(status: Mapping[str, Any]) -> bytes:
    """A Status in an envelope (k8s.io/apimachinery, meta/v1 and runtime `generated.proto`)."""
    details = status.get("details") or {}
    causes = [
        _text(1, c.get("reason")) + _text(2, c.get("message")) + _text(3, c.get("field"))
        for c in details.get("causes", ())
    ]
    told = [_text(n, details.get(name)) for n, name in ((1, "name"), (2, "group"), (3, "kind"), (6, "uid"))]
    within = b"".join([*told, *(_bytes(4, cause) for cause in causes)])
    texts = [_text(n, status.get(name)) for n, name in ((2, "status"), (3, "message"), (4, "reason"))]
    raw = b"".join([_bytes(1, b""), *texts, *([_bytes(5, within)] if within else []), _number(6, status["code"])])
    type_ = _text(1, status["apiVersion"]) + _text(2, status["kind"])
    return MAGIC + _bytes(1, type_) + _bytes(2, raw)


def _text(number: int, value: str | None) -> bytes:
    return _bytes(number, value.encode()) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return _written(number << 3 | 2) + _written(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _written(number << 3) + _written(value)


def _written(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(data: bytes, fields: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        name, kind = fields.get(number, ("", "skip"))
        if isinstance(kind, dict):
            found[name] = _message(value, kind)
        elif kind == "str":
            found[name] = value.decode()
        elif kind == "bytes":
            found[name] = value
        elif kind == "list":
            found.setdefault(name, []).append(value.decode())
        elif kind == "map":
            entry = _message(value, {1: ("key", "str"), 2: ("value", "str")})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each field; numbers come as empty bytes, as none of those is needed."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
                value = b""
            case 1:
                value, at = b"", at + 8
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case 5:
                value, at = b"", at + 4
            case other:
                raise IndexError(f"wire type {other}")
        if at > len(data):
            raise IndexError("a field is cut off")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise IndexError("a number is too long")
