"""The link against a real broker."""

import asyncio
import hashlib

import pytest

from litefleet_controller.delivery.errors import LinkDownError
from tests.controller.delivery.conftest import Mailbox, OpenLink, PlainBroker, until


async def test_what_is_published_arrives_as_it_was(open_link: OpenLink) -> None:
    reader, writer = await open_link("reader"), await open_link("writer")
    box = Mailbox(reader)
    await reader.subscribe("lf/v1/#")
    await writer.publish("lf/v1/epoch", b"\x00\xff", retain=True)
    await until(lambda: box.messages, "the message arrives")
    assert (box.messages[0].topic, box.messages[0].payload, box.messages[0].retain) == (
        "lf/v1/epoch",
        b"\x00\xff",
        False,
    )


async def test_a_retained_message_says_that_it_is_no_news(open_link: OpenLink) -> None:
    writer, reader = await open_link("writer"), await open_link("reader")
    await writer.publish("lf/v1/epoch", b"1", retain=True)
    box = Mailbox(reader)
    await reader.subscribe("lf/v1/epoch")
    await until(lambda: box.messages, "the retained message arrives")
    assert box.messages[0].retain


async def test_its_own_messages_do_not_come_back(open_link: OpenLink) -> None:
    link, other = await open_link("link"), await open_link("other")
    box = Mailbox(link)
    await link.subscribe("lf/v1/#")
    await link.publish("lf/v1/a", b"mine")
    await other.publish("lf/v1/b", b"theirs")
    await until(lambda: box.messages, "the other's message arrives")
    assert [m.payload for m in box.messages] == [b"theirs"]


async def test_four_mebibytes_at_once_wait_for_the_window_and_all_arrive(open_link: OpenLink) -> None:
    reader, writer = await open_link("reader"), await open_link("writer")
    box = Mailbox(reader)
    await reader.subscribe("lf/v1/a/#")
    chunks = [hashlib.sha256(bytes([i])).digest() * 2048 for i in range(64)]
    await asyncio.gather(*(writer.publish(f"lf/v1/a/{i}", chunk, retain=True) for i, chunk in enumerate(chunks)))
    await until(lambda: len(box.messages) == 64, "every chunk arrives")
    assert {m.topic: m.payload for m in box.messages} == {f"lf/v1/a/{i}": c for i, c in enumerate(chunks)}


async def test_never_more_than_the_window_is_under_way(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("writer", window=3, ack_timeout_s=60.0)
    broker.freeze()
    publishes = [asyncio.create_task(link.publish("lf/v1/x", b"x" * 100)) for _ in range(10)]
    await until(lambda: _unacknowledged(link) == 3, "the window fills")
    broker.thaw()
    await asyncio.wait_for(asyncio.gather(*publishes), 10)


def _unacknowledged(link: object) -> int:
    return len(link._connection._acks)  # type: ignore[attr-defined]  # nothing outside shows the window


async def test_without_a_broker_publishing_fails_at_once(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("writer")
    broker.kill()
    await until(lambda: not link.state.value.connected, "the loss is noticed")
    with pytest.raises(LinkDownError):
        await link.publish("lf/v1/x", b"x")


async def test_a_publish_under_way_fails_when_the_broker_dies(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("writer")
    broker.freeze()
    publish = asyncio.create_task(link.publish("lf/v1/x", b"x"))
    await until(lambda: _unacknowledged(link) == 1, "the message is under way")
    broker.kill()
    with pytest.raises(LinkDownError):
        await asyncio.wait_for(publish, 10)


async def test_a_broker_that_acknowledges_nothing_counts_as_gone(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("writer", ack_timeout_s=0.3)
    broker.freeze()
    with pytest.raises(LinkDownError, match="acknowledgement"):
        await asyncio.wait_for(link.publish("lf/v1/x", b"x"), 10)
    broker.thaw()
    await until(lambda: link.state.value.generation == 2, "it connects again")


async def test_after_a_kill_it_reconnects_subscribes_and_counts_the_connection(
    open_link: OpenLink, broker: PlainBroker
) -> None:
    link = await open_link("link")
    box = Mailbox(link)
    await link.subscribe("lf/v1/#")
    broker.kill()
    await until(lambda: not link.state.value.connected, "the loss is noticed")
    broker.start()
    await until(lambda: link.state.value.connected, "it reconnects")
    other = await open_link("other")
    await other.publish("lf/v1/x", b"after")
    await until(lambda: box.on("lf/v1/x") == [b"after"], "the subscription is back")
    assert link.state.value.generation == 2


async def test_a_subscription_while_disconnected_holds_once_connected(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("link")
    box = Mailbox(link)
    broker.kill()
    await until(lambda: not link.state.value.connected, "the loss is noticed")
    await link.subscribe("lf/v1/x")
    broker.start()
    await until(lambda: link.state.value.connected, "it reconnects")
    await (await open_link("other")).publish("lf/v1/x", b"1")
    await until(lambda: box.messages, "the message arrives")


async def test_a_slow_reader_makes_the_broker_wait_and_loses_nothing(open_link: OpenLink) -> None:
    reader, writer = await open_link("reader", queue=10), await open_link("writer")
    await reader.subscribe("lf/v1/#")
    await asyncio.gather(*(writer.publish("lf/v1/x", str(i).encode()) for i in range(500)))
    assert len(reader._inbox) <= 40  # what one read of the socket may bring beyond the queue's 10
    box = Mailbox(reader)
    await until(lambda: len(box.messages) == 500, "everything arrives")
    assert [int(m.payload) for m in box.messages] == list(range(500))


async def test_what_breaks_a_limit_is_dropped_and_counted(open_link: OpenLink) -> None:
    reader, writer = await open_link("reader"), await open_link("writer")
    box = Mailbox(reader)
    await reader.subscribe("#")
    await writer.publish("lf/v1/d/a/up/reported", b"x" * (256 * 1024 + 1))
    await writer.publish("lf/" + "x" * 300, b"x")
    await writer.publish("lf/v1/d/a/up/reported", b"good")
    await until(lambda: box.messages, "the good one arrives")
    assert [m.payload for m in box.messages] == [b"good"]
    assert reader.dropped == {"payload_too_large": 1, "topic_too_long": 1}


async def test_the_reader_ends_when_the_link_stops(open_link: OpenLink) -> None:
    link = await open_link("link")
    reading = asyncio.create_task(_drain(link))
    await link.stop()
    await asyncio.wait_for(reading, 5)


async def _drain(link: object) -> None:
    async for _ in link.messages():  # type: ignore[attr-defined]
        pass
