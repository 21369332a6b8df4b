"""Reading protocol buffers without their schema: the few fields of a SavedModel that decide whether it may be loaded.

TensorFlow's own classes for them take seconds to import, and a file that is refused must not pay that. A field that
stands twice is given twice, where protobuf would merge the two or take the last: whoever looks for what must not be
there sees at least what a real parser sees. Pure.
"""

from collections.abc import Iterator

_BYTES = 2
_MAX_VARINT_BYTES = 10


class WireError(ValueError):
    """What isn't a protocol buffer."""


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every length-delimited field (messages, strings, bytes), in order; others are skipped.

    Raises: WireError.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                _, at = _varint(data, at)
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case kind:
                # Groups (3 and 4) went out of use before SavedModels came in.
                raise WireError(f"wire type {kind} at byte {at}")
        if size > len(data) - at:
            raise WireError(f"a field of {size} bytes at byte {at} of {len(data)}")
        if key & 7 == _BYTES:
            yield key >> 3, data[at : at + size]
        at += size


def walk(data: memoryview, *path: int) -> Iterator[memoryview]:
    """Every field at the end of `path`, a number a level.

    Raises: WireError.
    """
    first, *rest = path
    for number, content in fields(data):
        if number == first:
            if rest:
                yield from walk(content, *rest)
            else:
                yield content


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if at + count >= len(data):
            raise WireError(f"a number is cut off at byte {at}")
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise WireError(f"a number at byte {at} doesn't end")
