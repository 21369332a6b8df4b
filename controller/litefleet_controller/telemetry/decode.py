"""From bytes to a window that can be stored: what is bad in it is left out and counted, the rest of it counts.

A well-formed window takes the fast path. One that doesn't fit the schema (a string for a number, 2^65, a bucket that
can't be) is read field by field. Only a window that doesn't say which it is, or that says nothing about what it
measured, is refused as a whole.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from litefleet_protocol import codec
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.histogram import Histogram, bucket_value
from litefleet_protocol.limits import MAX_CLASSES, MAX_CONTROL_BYTES
from litefleet_protocol.messages import TelemetryWindow
from litefleet_protocol.names import is_digest, is_name

_LARGEST = 2**53
_MAX_LABEL = 256
_REQUIRED = ("boot_id", "sequence", "slot", "artifact", "version")
_NAMES = {f.name: f.encode_name for f in fields(TelemetryWindow)}
_TYPES = {f.name: f.type for f in fields(TelemetryWindow)}
_EMPTY: dict[str, Any] = {
    "started": 0.0,
    "seconds": 0.0,
    "count": 0,
    "latency_ms": Histogram(),
    "confidence": Histogram(),
}
"""What stands for a bad value of a field without a default of its own."""

_BOUNDS: dict[str, tuple[float, float, float | None]] = {
    "count": (0, _LARGEST, 0),
    "errors": (0, _LARGEST, 0),
    "dropped": (0, _LARGEST, 0),
    "seconds": (0, 7 * 86_400, 0.0),
    "longest_gap_ms": (0, math.inf, 0.0),
    "started": (-1e11, 1e11, 0.0),
    "rss_bytes": (0, _LARGEST, None),
    "temperature_c": (-300, 10_000, None),
}
"""What a number may be, from and below, and what replaces it."""
_PAST_S = 90 * 86_400.0
_FUTURE_S = 300.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """A window fit to be stored, and what was left out of it, by code."""

    window: TelemetryWindow
    bad: Counter[str]


def decode_window(payload: bytes) -> Decoded:
    """Read what can be read.

    Larger windows than boards should send are read, too: too many labels are no reason to lose the others.

    Raises:
        ProtocolError: `TooLarge`, `UnsupportedVersion`, or `BadMessage` when nothing of it can be stored.
    """
    bad: Counter[str] = Counter()
    try:
        window = codec.decode(TelemetryWindow, payload, max_bytes=MAX_CONTROL_BYTES)
    except ProtocolError as e:
        if e.code is not Code.BAD_MESSAGE:
            raise
        window = _field_by_field(payload, bad, e)
    _check_identity(window)
    return Decoded(_repaired(window, bad), bad)


def is_untrusted(window: TelemetryWindow, now: float) -> bool:
    """Whether the board's clock was visibly wrong when the window began. It decides nothing; people are told."""
    return not window.clock_trusted or not now - _PAST_S <= window.started <= now + _FUTURE_S


def _field_by_field(payload: bytes, bad: Counter[str], why: ProtocolError) -> TelemetryWindow:
    try:
        raw = msgspec.msgpack.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise why from e
    if not isinstance(raw, dict):
        raise why
    values: dict[str, Any] = {}
    for name, on_wire in _NAMES.items():
        if on_wire not in raw:
            if name in _EMPTY:
                values[name] = _EMPTY[name]
                bad[Code.BAD_SAMPLE] += 1
            continue
        try:
            values[name] = msgspec.convert(raw[on_wire], _TYPES[name])
        except (msgspec.ValidationError, RecursionError) as e:
            if name in _REQUIRED:
                raise ProtocolError(Code.BAD_MESSAGE, f"a window without a usable {on_wire}", field=on_wire) from e
            bad[Code.BAD_SAMPLE] += 1
            saved = _saved(name, raw[on_wire])
            if saved is not None:
                values[name] = saved
    try:
        return TelemetryWindow(**values)
    except TypeError as e:
        raise why from e


def _saved(name: str, value: Any) -> Any:
    """What of a bad value is of use; None leaves the field to its default."""
    match name, value:
        case "classes", dict():
            return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, int)}
        case (("latency_ms" | "confidence"), [dict() as buckets, *rest]):
            counts = {k: v for k, v in buckets.items() if isinstance(k, int) and isinstance(v, int)}
            zeros = rest[0] if rest and isinstance(rest[0], int) else 0
            total = rest[1] if len(rest) > 1 and isinstance(rest[1], int | float) else math.nan
            return Histogram(counts, zeros, total)
    return _EMPTY.get(name)


def _check_identity(window: TelemetryWindow) -> None:
    for field, sound in (
        ("bootId", 0 < len(window.boot_id) <= 64),
        ("sequence", 0 <= window.sequence < _LARGEST),
        ("slot", is_name(window.slot)),
        ("artifact", is_digest(window.artifact)),
        ("version", 0 < len(window.version) <= 253),
    ):
        if not sound:
            raise ProtocolError(Code.BAD_MESSAGE, f"a window without a usable {field}", field=field)


def _repaired(window: TelemetryWindow, bad: Counter[str]) -> TelemetryWindow:
    changes: dict[str, Any] = {}
    for name, (low, high, otherwise) in _BOUNDS.items():
        value = getattr(window, name)
        # Written so that NaN is out of bounds.
        if value is not None and not low <= value < high:
            changes[name] = otherwise
    for name in ("latency_ms", "confidence"):
        if not getattr(window, name).is_sound():
            changes[name] = _sound_part(getattr(window, name))
    classes = _sound_classes(window.classes)
    if len(classes) < len(window.classes):
        changes["classes"] = classes
    if changes:
        bad[Code.BAD_SAMPLE] += len(changes)
    if len(classes) > MAX_CLASSES:
        changes["classes"] = _largest(classes)
        bad[Code.CARDINALITY_LIMIT] += len(classes) - MAX_CLASSES
    return replace(window, **changes) if changes else window


def _sound_classes(classes: dict[str, int]) -> dict[str, int]:
    if all(0 <= v < _LARGEST and len(k) <= _MAX_LABEL for k, v in classes.items()):
        return classes
    return {k: v for k, v in classes.items() if 0 <= v < _LARGEST and len(k) <= _MAX_LABEL}


def _largest(classes: dict[str, int]) -> dict[str, int]:
    return dict(sorted(classes.items(), key=lambda item: (-item[1], item[0]))[:MAX_CLASSES])


def _sound_part(histogram: Histogram) -> Histogram:
    """The buckets that can be; a sum that can't be is estimated from them, within the histogram's error."""
    buckets = {i: c for i, c in histogram.buckets.items() if Histogram({i: c}).is_sound()}
    zeros = histogram.zeros if 0 <= histogram.zeros < _LARGEST else 0
    total = histogram.total
    if len(buckets) < len(histogram.buckets) or not Histogram(buckets, zeros, total).is_sound():
        total = math.fsum(bucket_value(i) * c for i, c in buckets.items())
    return Histogram(buckets, zeros, total)
