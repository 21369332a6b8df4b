"""Whatever a board says, what comes of it fits the kind."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.delivery.device_status import Said, changed_status, is_plausible, status_of
from litefleet_controller.resources.admission import check_status
from litefleet_controller.resources.registry import DEVICE
from litefleet_protocol import codec
from litefleet_protocol.messages import Capabilities, Phase, Presence, Reported, SlotReported

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_digest = st.sampled_from([f"sha256:{'a' * 64}", "sha256:short", ""]) | st.none()
_number = st.integers(-(2**63), 2**63)
_text = st.text(max_size=5) | st.just("x" * 3000)
_slot = st.builds(
    SlotReported,
    phase=st.sampled_from(Phase.ALL) | _text,
    current=_digest,
    current_version=_text,
    previous=_digest,
    desired=_digest,
    code=_text,
    message=_text,
    received_chunks=_number,
    total_chunks=_number,
)
_reported = st.builds(
    Reported,
    fleet=st.just("fleet"),
    device=st.just("a"),
    device_class=_text,
    boot_id=_text,
    sequence=_number,
    epoch=_number,
    counter=_number,
    slots=st.dictionaries(st.sampled_from(["digits", "faces", "a-1"]) | _text, _slot, max_size=4),
    capabilities=st.builds(
        Capabilities,
        agent=_text,
        runtimes=st.dictionaries(_text, _text, max_size=3),
        machine=_text,
        memory_bytes=_number | st.none(),
        disk_free_bytes=_number | st.none(),
    ),
    code=_text,
    message=_text,
)


@given(_reported, st.builds(Presence, online=st.booleans(), connection=_text))
def test_a_plausible_report_gives_a_valid_status_of_bounded_size(reported: Reported, presence: Presence) -> None:
    if not is_plausible(codec.decode(Reported, codec.encode(reported))):
        return
    said = Said().with_presence(presence).with_reported(reported)
    status = changed_status({}, status_of("a", said, lambda _d, _s, _a: ""), NOW, 1)
    assert status is not None
    assert check_status(DEVICE, "a", status) == status
    assert len(str(status)) < 20_000


def test_a_value_that_a_board_stops_reporting_goes_away() -> None:
    before = {"memoryBytes": 5, "bootId": "b", "lastSeen": "2026-03-01T12:00:00Z"}
    after = changed_status(before, {"bootId": "b"}, NOW, 1)
    assert after is not None
    assert "memoryBytes" not in after


def test_nothing_new_within_a_minute_is_not_worth_a_write() -> None:
    said = {"connection": "Online"}
    stored = changed_status({}, said, NOW, 1)
    assert stored is not None
    assert changed_status(stored, said, NOW.replace(second=59), 1) is None
    assert changed_status(stored, said, NOW.replace(minute=1), 1) is not None
    assert changed_status(stored, said, NOW, 2) is not None


def test_a_last_seen_that_a_fast_clock_noted_is_put_right() -> None:
    said = {"bootId": "b"}
    stored = changed_status({}, said, NOW.replace(year=2061), 1)
    assert stored is not None
    again = changed_status(stored, said, NOW, 1)
    assert again is not None
    assert again["lastSeen"].startswith("2026-")
