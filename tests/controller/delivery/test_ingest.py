"""Sorting what boards send."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.interface import Incoming, Link
from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.ingest import Batching, TelemetryIngest
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Capabilities, Need, Presence, Reported
from litefleet_protocol.topics import Up
from tests.controller.delivery.conftest import OpenLink, until

CAPABILITIES = Capabilities(agent="0.1", runtimes={"litert": "2.3.0"})


class Kept:
    """Every sink at once, in memory."""

    def __init__(self) -> None:
        self.got: list[tuple[str, object]] = []

    def reported(self, device: str, reported: Reported) -> None:
        self.got.append((device, reported))

    def presence(self, device: str, presence: Presence) -> None:
        if device == "trap":
            raise RuntimeError("a sink that breaks")
        self.got.append((device, presence))

    def offer(self, device: str, payload: bytes) -> None:
        self.got.append((device, payload))

    def need(self, device: str, need: Need) -> None:
        self.got.append((device, need))

    def found(self, namespace: str, digest: str, envelope: bytes) -> None:
        self.got.append((namespace, digest))


def sorter(link: Link | None = None) -> tuple[Ingest, Kept]:
    kept = Kept()
    others = {"$CONTROL/x/response": lambda payload: kept.got.append(("control", payload))}
    return Ingest(link, "fleet", Sinks(kept, kept, kept, kept, others)), kept  # type: ignore[arg-type]


def report(device: str, fleet: str = "fleet") -> Reported:
    return Reported(
        fleet=fleet,
        device=device,
        device_class="rpi-4",
        boot_id="b",
        sequence=1,
        epoch=1,
        counter=1,
        capabilities=CAPABILITIES,
    )


def incoming(topic: str, payload: bytes) -> Incoming:
    return Incoming(topic, payload, retain=False)


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (Up.REPORTED, report("a")),
        (Up.PRESENCE, Presence(online=True, connection="c")),
        (Up.NEED, Need(artifact=f"sha256:{'a' * 64}", chunks=(1,))),
    ],
)
def test_each_message_goes_to_its_sink(leaf: Up, message: Reported | Presence | Need) -> None:
    ingest, kept = sorter()
    ingest.take(incoming(topics.up("a", leaf), codec.encode(message)))
    assert kept.got == [("a", message)]


def test_telemetry_goes_on_undecoded() -> None:
    ingest, kept = sorter()
    ingest.take(incoming(topics.up("a", Up.TELEMETRY), b"\x00"))
    assert kept.got == [("a", b"\x00")]


def test_manifests_on_the_broker_and_other_topics_go_to_who_asked_for_them() -> None:
    ingest, kept = sorter()
    digest = f"sha256:{'a' * 64}"
    ingest.take(incoming(topics.manifest("default", digest), b"{}"))
    ingest.take(incoming("$CONTROL/x/response", b"ok"))
    assert kept.got == [("default", digest), ("control", b"ok")]


@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        (topics.up("a", Up.REPORTED), codec.encode(report("b")), "WrongDevice"),
        (topics.up("a", Up.REPORTED), codec.encode(report("a", fleet="another")), "BadMessage"),
        (topics.up("a", Up.REPORTED), b"", None),
        (topics.up("a", Up.REPORTED), b"{", "BadMessage"),
        (topics.up("a", Up.REPORTED), b'{"v":"2.0"}', "UnsupportedVersion"),
        (topics.up("a", Up.REPORTED), b"[" * 100_000, "BadMessage"),
        (topics.up("a", Up.REPORTED), b"x" * 300_000, "TooLarge"),
        (topics.up("a", Up.PRESENCE), b'{"v":"1.0","online":"yes","connection":"c"}', "BadMessage"),
        (topics.up("a", Up.NEED), b'{"v":"1.0","artifact":"x","chunks":["1"]}', "BadMessage"),
        (topics.down("a", topics.Down.DESIRED), b"{}", "BadMessage"),
        ("lf/v1/d/A/up/reported", b"{}", "BadMessage"),
        ("lf/v1/d/a/up/unheard", b"{}", "BadMessage"),
        ("lf/v2/d/a/up/reported", b"{}", "BadMessage"),
        ("", b"", "BadMessage"),
    ],
)
def test_what_is_malformed_is_dropped_and_counted_by_its_code(topic: str, payload: bytes, code: str | None) -> None:
    ingest, kept = sorter()
    ingest.take(incoming(topic, payload))
    assert kept.got == []
    assert ingest.dropped == Counter([code] if code else [])


def test_a_sink_that_breaks_costs_one_message() -> None:
    ingest, kept = sorter()
    for device in ("trap", "a"):
        ingest.take(incoming(topics.up(device, Up.PRESENCE), codec.encode(Presence(online=True, connection="c"))))
    assert [device for device, _ in kept.got] == ["a"]
    assert ingest.dropped == {"Internal": 1}


_topics = st.one_of(
    st.sampled_from([topics.up("a", leaf) for leaf in Up if leaf is not Up.TELEMETRY]),
    st.text(max_size=60),
    st.lists(st.sampled_from(["lf", "v1", "d", "a", "up", "c", "0", "reported", "", "+", "#", "é"])).map("/".join),
)


@given(_topics, st.binary(max_size=200))
def test_random_bytes_on_random_topics_reach_no_sink_and_never_raise(topic: str, payload: bytes) -> None:
    ingest, kept = sorter()
    ingest.take(incoming(topic, payload))
    assert not kept.got


@given(st.sampled_from(list(Up)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_of_any_other_form_is_dropped(leaf: Up, value: object) -> None:
    import json

    ingest, kept = sorter()
    if leaf is not Up.TELEMETRY:
        ingest.take(incoming(topics.up("a", leaf), json.dumps(value).encode()))
    assert not kept.got


async def test_everything_that_boards_send_is_subscribed_to(open_link: OpenLink) -> None:
    link, board = await open_link("controller"), await open_link("board")
    ingest, kept = sorter(link)
    reading = asyncio.create_task(ingest.run())
    await until(lambda: len(link._topics) == 3, "it subscribes")
    for leaf in (Up.TELEMETRY, Up.NEED):
        await board.publish(topics.up("board", leaf), b"{}")
    await board.publish(topics.up("board", Up.PRESENCE), codec.encode(Presence(online=True, connection="c")))
    await until(lambda: len(kept.got) == 2, "both arrive")
    assert ingest.dropped == {"UnsupportedVersion": 1}
    await link.stop()
    await reading


async def test_a_flood_of_telemetry_does_not_hold_up_the_news_that_a_board_is_gone(
    open_link: OpenLink, database: Database
) -> None:
    link, board = await open_link("controller"), await open_link("board")
    kept = Kept()
    telemetry = TelemetryIngest(
        database,
        _Nowhere(),
        lambda _device, _ack: None,
        clock=lambda: datetime.now(UTC),
        batching=Batching(max_queued=50),
    )  # nothing runs it: a database that stands still
    ingest = Ingest(link, "fleet", Sinks(kept, telemetry, kept, kept, {}))
    reading = asyncio.create_task(ingest.run())
    await until(lambda: len(link._topics) == 2, "it subscribes")
    topic = topics.up("board", Up.TELEMETRY)
    await asyncio.gather(*(board.publish(topic, b"x" * 1000) for _ in range(2000)))
    await board.publish(topics.up("board", Up.PRESENCE), codec.encode(Presence(online=False, connection="c")))
    await until(lambda: kept.got, "the news arrives")
    assert telemetry.dropped == {"QueueFull": 1950}
    await link.stop()
    await reading


class _Nowhere:
    """Knows no board. Implements Places."""

    async def locate(self, _device: str) -> None:
        return None
