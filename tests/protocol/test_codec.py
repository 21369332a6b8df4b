"""Messages survive the wire, whatever is in them; what isn't a message is refused with a code."""

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol import codec
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.limits import MAX_CONTROL_BYTES
from litefleet_protocol.messages import (
    Ack,
    ArtifactFile,
    ArtifactManifest,
    Capabilities,
    Desired,
    Epoch,
    Gates,
    Message,
    Need,
    Phase,
    Presence,
    Reported,
    SlotDesired,
    SlotReported,
    TelemetryWindow,
)
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec

text = st.text(max_size=30)
counts = st.integers(0, 2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)
digests = st.binary(min_size=32, max_size=32).map(lambda b: f"sha256:{b.hex()}")
optional_digest = st.none() | digests


@st.composite
def histograms(draw: st.DrawFn):
    builder = HistogramBuilder()
    for value in draw(st.lists(st.floats(0, 1e12), max_size=20)):
        builder.add(value)
    return builder.freeze()


slots_desired = st.builds(
    SlotDesired, artifact=digests, version=text, rollout=text, gates=st.builds(Gates), fallback=optional_digest,
    probation_seconds=floats, deadline_seconds=st.none() | floats,
)  # fmt: skip
slots_reported = st.builds(
    SlotReported, phase=st.sampled_from(Phase.ALL), current=optional_digest, previous=optional_digest,
    desired=optional_digest, code=text, message=text, attempts=counts, bad=st.lists(digests, max_size=3).map(tuple),
)  # fmt: skip
tensors = st.builds(
    TensorSpec, name=text, shape=st.lists(counts, max_size=4).map(tuple), dtype=st.sampled_from(["float32", "int8"]),
    quantization=st.none() | st.builds(Quantization, scale=floats, zero_point=st.integers(-128, 127)),
)  # fmt: skip
tensor_lists = st.lists(tensors, max_size=2).map(tuple)
messages = st.one_of(
    st.builds(Epoch, fleet=text, epoch=counts),
    st.builds(
        Desired, fleet=text, namespace=text, device=text, device_class=text, epoch=counts, counter=counts,
        slots=st.dictionaries(text, slots_desired, max_size=3),
    ),
    st.builds(Ack, boot_id=text, sequence=counts),
    st.builds(Presence, online=st.booleans(), connection=text),
    st.builds(Need, artifact=digests, chunks=st.lists(st.integers(-1, 16384), max_size=5).map(tuple)),
    st.builds(
        Reported, fleet=text, device=text, device_class=text, boot_id=text, sequence=counts, epoch=counts, counter=counts,
        slots=st.dictionaries(text, slots_reported, max_size=3),
        capabilities=st.builds(Capabilities, agent=text, runtimes=st.dictionaries(text, text, max_size=2)),
    ),
    st.builds(
        ArtifactManifest, namespace=text, model=text, version=text, device_class=text, variant=text, chunk_bytes=counts,
        files=st.lists(st.builds(ArtifactFile, name=text, digest=digests, size=counts), max_size=2).map(tuple),
        chunks=st.lists(text, max_size=3).map(tuple),
        signature=st.builds(Signature, inputs=tensor_lists, outputs=tensor_lists),
    ),
    st.builds(
        TelemetryWindow, boot_id=text, sequence=counts, slot=text, artifact=digests, version=text, started=floats,
        seconds=floats, count=counts, latency_ms=histograms(), confidence=histograms(),
        classes=st.dictionaries(text, counts, max_size=5), rss_bytes=st.none() | counts,
    ),
)  # fmt: skip


@given(messages)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert codec.decode(type(message), codec.encode(message)) == message


@given(messages)
def test_encoding_is_reproducible(message: Message) -> None:
    data = codec.encode(message)
    assert codec.encode(codec.decode(type(message), data)) == data


@given(
    messages,
    st.dictionaries(st.from_regex(r"new[A-Z][a-z]{1,8}", fullmatch=True), st.none() | floats | text, min_size=1),
)
def test_unknown_fields_of_a_newer_peer_are_ignored(message: Message, unknown: dict[str, object]) -> None:
    binary = isinstance(message, TelemetryWindow)
    read, write = (
        (msgspec.msgpack.decode, msgspec.msgpack.encode) if binary else (msgspec.json.decode, msgspec.json.encode)
    )
    newer = {**read(codec.encode(message)), **unknown, "v": "1.7"}
    decoded = codec.decode(type(message), write(newer))
    assert decoded == msgspec.structs.replace(message, v="1.7")


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "x", "11.0"])
def test_an_unknown_major_version_has_its_own_code(version: str) -> None:
    # Nothing else of the message fits: the version decides before the fields are looked at.
    with pytest.raises(ProtocolError) as e:
        codec.decode(Epoch, msgspec.json.encode({"v": version, "entirely": "different"}))
    assert e.value.code == Code.UNSUPPORTED_VERSION


@given(st.binary(max_size=300), st.sampled_from([Desired, Reported, TelemetryWindow, ArtifactManifest, Need, Ack]))
def test_random_bytes_are_refused_with_a_code(data: bytes, kind: type[Message]) -> None:
    with pytest.raises(ProtocolError) as e:
        codec.decode(kind, data)
    assert e.value.code in {Code.BAD_MESSAGE, Code.UNSUPPORTED_VERSION}


@given(messages, st.data())
def test_a_damaged_message_is_refused_or_read_never_a_crash(message: Message, data: st.DataObject) -> None:
    raw = bytearray(codec.encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        codec.decode(type(message), bytes(raw))
    except ProtocolError as e:
        assert e.code in {Code.BAD_MESSAGE, Code.UNSUPPORTED_VERSION}


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError) as e:
        codec.decode(Epoch, b'{"v":"1.0","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert e.value.code == Code.BAD_MESSAGE


def test_a_message_past_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ProtocolError) as e:
        codec.decode(Epoch, b" " * (MAX_CONTROL_BYTES + 1))
    assert e.value.code == Code.TOO_LARGE


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ProtocolError, match="epoch"):
        codec.decode(Epoch, b'{"v":"1.0","fleet":"f"}')


_meeting = threading.Barrier(2)
_met: list[bool] = []


def _looked_into() -> type[int]:
    """Msgspec evaluates annotations when it looks into a type: here it would meet another thread that does so."""
    try:
        _meeting.wait(0.5)
        _met.append(True)
    except threading.BrokenBarrierError:
        _met.append(False)
    return int


class _Slow(Message):
    value: "_looked_into()" = 0  # type: ignore[valid-type]


def test_threads_never_look_into_a_kind_at_once() -> None:
    """Msgspec 0.22 crashes the process when two threads make the first decoder of a type together."""
    threads = [threading.Thread(target=codec.decode, args=(_Slow, b'{"v": "1.0"}')) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _met
    assert not any(_met)
