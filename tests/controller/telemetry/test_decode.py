"""What is bad in a window is left out; the rest of it counts."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.telemetry.decode import decode_window, is_untrusted
from litefleet_protocol import codec
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.histogram import Histogram
from litefleet_protocol.messages import TelemetryWindow
from tests.controller.telemetry.conftest import STARTED, window


def raw(**changes: Any) -> bytes:
    """A window's bytes with fields (camelCase) replaced by anything at all."""
    return msgspec.msgpack.encode(msgspec.to_builtins(window(), str_keys=False) | changes)


def test_a_good_window_comes_through_as_it_is() -> None:
    decoded = decode_window(codec.encode(window()))
    assert decoded.window == window()
    assert not decoded.bad


@pytest.mark.parametrize(
    ("field", "value", "attribute", "kept"),
    [
        ("count", -1, "count", 0),
        ("count", "20", "count", 0),
        ("count", 2**64 - 1, "count", 0),
        ("count", float(2**65), "count", 0),
        ("count", math.inf, "count", 0),
        ("errors", "none", "errors", 0),
        ("seconds", math.inf, "seconds", 0.0),
        ("seconds", math.nan, "seconds", 0.0),
        ("seconds", -1.0, "seconds", 0.0),
        ("longestGapMs", math.nan, "longest_gap_ms", 0.0),
        ("longestGapMs", "long", "longest_gap_ms", 0.0),
        ("rssBytes", -5, "rss_bytes", None),
        ("rssBytes", "big", "rss_bytes", None),
        ("temperatureC", math.inf, "temperature_c", None),
        ("started", math.nan, "started", 0.0),
        ("started", "yesterday", "started", 0.0),
        ("latencyMs", "fast", "latency_ms", Histogram()),
        ("classes", ["3", "7"], "classes", {}),
        ("classes", {"3": 12, "7": -1}, "classes", {"3": 12}),
        ("classes", {"3": 12, "7": "8"}, "classes", {"3": 12}),
        ("classes", {"3": 12, 7: 8}, "classes", {"3": 12}),
        ("classes", {"3": 12, "x" * 257: 1}, "classes", {"3": 12}),
        ("clockTrusted", "no", "clock_trusted", True),
    ],
)
def test_a_bad_sample_is_left_out_and_the_windows_others_count(
    field: str, value: object, attribute: str, kept: object
) -> None:
    decoded = decode_window(raw(**{field: value}))
    assert getattr(decoded.window, attribute) == kept
    assert decoded.bad == {"BadSample": 1}
    same = {f: getattr(window(), f) for f in TelemetryWindow.__struct_fields__ if f != attribute}
    assert {f: getattr(decoded.window, f) for f in same} == same


def test_infinity_in_a_histogram_is_estimated_from_its_buckets() -> None:
    good = window().latency_ms
    decoded = decode_window(raw(latencyMs=[good.buckets, 0, math.inf]))
    assert decoded.window.latency_ms.buckets == good.buckets
    assert decoded.window.latency_ms.mean == pytest.approx(good.mean, rel=0.01)
    assert decoded.bad == {"BadSample": 1}


@pytest.mark.parametrize("bucket", [(10**6, 1), (50, 0), (50, -3), (50, 2**60), ("50", 1), (50, "1")])
def test_a_bucket_that_can_not_be_is_left_out(bucket: tuple[object, object]) -> None:
    decoded = decode_window(raw(latencyMs=[{100: 5, bucket[0]: bucket[1]}, 2, 40.0]))
    assert decoded.window.latency_ms.buckets == {100: 5}
    assert decoded.window.latency_ms.zeros == 2
    assert decoded.bad["BadSample"] >= 1


def test_of_ten_thousand_labels_the_largest_stay() -> None:
    labels = {f"c{n}": n for n in range(10_000)}
    decoded = decode_window(codec.encode(window(classes=labels)))
    assert len(decoded.window.classes) == 4096
    assert min(decoded.window.classes.values()) == 10_000 - 4096
    assert decoded.bad == {"CardinalityLimit": 10_000 - 4096}
    assert decoded.window.count == 20


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"{}",
        msgspec.msgpack.encode([1, 2]),
        b"\x91" * 10_000,
        raw(bootId=5),
        raw(bootId=""),
        raw(bootId="x" * 65),
        raw(sequence="1"),
        raw(sequence=-1),
        raw(sequence=2**60),
        raw(slot="../x"),
        raw(artifact="sha256:short"),
        raw(version=""),
    ],
)
def test_a_window_that_does_not_say_which_it_is_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_window(payload)
    assert refused.value.code in ("BadMessage", "UnsupportedVersion")


def test_a_window_of_another_major_version_is_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_window(raw(v="2.0"))
    assert refused.value.code == "UnsupportedVersion"


def test_a_window_past_every_limit_is_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_window(b"x" * 300_000)
    assert refused.value.code == "TooLarge"


@pytest.mark.parametrize(("started", "untrusted"), [(0.0, True), (2_890_000_000.0, True), (STARTED, False)])
def test_a_clock_in_1970_or_2061_is_not_trusted(started: float, untrusted: bool) -> None:
    decoded = decode_window(codec.encode(window(started=started)))
    assert not decoded.bad
    assert is_untrusted(decoded.window, STARTED + 60) is untrusted


def test_a_board_that_does_not_trust_its_clock_is_believed() -> None:
    assert is_untrusted(window(clock_trusted=False), STARTED)


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(-5, 5) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)
_fields = sorted(msgspec.to_builtins(window(), str_keys=False))


@given(st.dictionaries(st.sampled_from(_fields), _anything, max_size=5))
def test_whatever_is_in_its_fields_a_window_is_refused_or_made_sound(changes: dict[str, Any]) -> None:
    try:
        decoded = decode_window(raw(**changes))
    except ProtocolError:
        return
    made = decoded.window
    assert made.latency_ms.is_sound()
    assert made.confidence.is_sound()
    assert all(0 <= n < 2**53 for n in (made.count, made.errors, made.dropped, *made.classes.values()))
    assert math.isfinite(made.seconds)
    assert math.isfinite(made.longest_gap_ms)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_window(payload)
