"""Bytes to messages and back: JSON for control, MessagePack for telemetry.

The version is read before the rest, so that a peer with a newer major gets `UnsupportedVersion` and not a list of
missing fields. Size limits are checked before anything is parsed.
"""

import threading
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Struct

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import MAX_CONTROL_BYTES, MAX_TELEMETRY_BYTES
from litefleet_protocol.messages import VERSION, Message, TelemetryWindow

M = TypeVar("M", bound=Message)
_MAJOR = VERSION.split(".")[0]


class _Version(Struct, frozen=True):
    v: str = ""


_version_json = msgspec.json.Decoder(_Version)
_version_msgpack = msgspec.msgpack.Decoder(_Version)
_making = threading.Lock()
_json_encoder = msgspec.json.Encoder(order="deterministic")
_msgpack_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """A message's bytes: MessagePack for telemetry, JSON with sorted keys (hence reproducible) for the rest."""
    if isinstance(message, TelemetryWindow):
        return _msgpack_encoder.encode(message)
    return _json_encoder.encode(message)


def decode(kind: type[M], data: bytes, *, max_bytes: int | None = None) -> M:
    """Read a message of `kind`.

    `max_bytes` replaces the kind's usual limit.

    Raises:
        ProtocolError: `TooLarge`, `UnsupportedVersion` or `BadMessage` (with the field's path in the message).
    """
    binary = issubclass(kind, TelemetryWindow)
    limit = max_bytes or (MAX_TELEMETRY_BYTES if binary else MAX_CONTROL_BYTES)
    if len(data) > limit:
        raise ProtocolError(Code.TOO_LARGE, f"{kind.__name__} of {len(data)} bytes; the limit is {limit}")
    try:
        version = (_version_msgpack if binary else _version_json).decode(data).v
        if version.split(".")[0] != _MAJOR:
            raise ProtocolError(
                Code.UNSUPPORTED_VERSION,
                f"{kind.__name__} of version {version[:20]!r}; this side speaks {VERSION}",
                field="v",
                hint="upgrade the older side",
            )
        decoded: M = _decoder(kind, binary).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ProtocolError(Code.BAD_MESSAGE, f"not a {kind.__name__}: {str(e)[:300]}") from e
    return decoded


def _decoder(kind: type[Message], binary: bool) -> msgspec.json.Decoder | msgspec.msgpack.Decoder:  # type: ignore[type-arg]  # one cache for both, typed at the call
    # Msgspec looks into a type when its first decoder is made; two threads that do so at once crash the process.
    with _making:
        return _made(kind, binary)


@cache
def _made(kind: type[Message], binary: bool) -> msgspec.json.Decoder | msgspec.msgpack.Decoder:  # type: ignore[type-arg]  # one cache for both, typed at the call
    return msgspec.msgpack.Decoder(kind) if binary else msgspec.json.Decoder(kind)
