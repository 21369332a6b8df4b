"""Reading protocol buffers without their schema: what a real parser sees is seen, whatever the bytes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.convert.opening.wire import WireError, fields, walk


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_fields_come_in_order_and_numbers_are_skipped() -> None:
    data = field(1, b"a") + varint(2 << 3) + varint(300) + varint(3 << 3 | 1) + bytes(8) + field(1, b"b")
    data += varint(4 << 3 | 5) + bytes(4) + field(5, b"")
    assert [(n, bytes(c)) for n, c in fields(memoryview(data))] == [(1, b"a"), (1, b"b"), (5, b"")]


def test_a_path_is_followed_through_every_occurrence() -> None:
    data = field(2, field(1, b"x") + field(3, b"no")) + field(2, field(1, b"y"))
    assert [bytes(c) for c in walk(memoryview(data), 2, 1)] == [b"x", b"y"]


@pytest.mark.parametrize(
    "data", [b"\x80", b"\x80" * 11, field(1, b"abc")[:-1], b"\x0b", b"\x0a\xff\xff\xff\xff\x0f", b"\x09\x00"]
)
def test_what_is_no_protocol_buffer_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(memoryview(data)))


@given(st.binary(max_size=200))
def test_any_bytes_end_in_fields_or_in_one_kind_of_error(data: bytes) -> None:
    try:
        found = list(fields(memoryview(data)))
    except WireError:
        return
    assert sum(len(c) for _, c in found) <= len(data)


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300)), max_size=8))
def test_what_is_written_is_read(content: list[tuple[int, bytes]]) -> None:
    data = b"".join(field(n, c) for n, c in content)
    assert [(n, bytes(c)) for n, c in fields(memoryview(data))] == content
