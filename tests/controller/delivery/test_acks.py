"""Acknowledgements on a real broker."""

import asyncio

from litefleet_controller.delivery.acks import AckPublisher
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Ack
from tests.controller.delivery.conftest import Mailbox, OpenLink, PlainBroker, until


async def test_only_the_newest_ack_of_a_boot_that_waits_is_sent(open_link: OpenLink) -> None:
    link, board = await open_link("controller"), await open_link("a")
    box = Mailbox(board)
    topic = topics.down("a", topics.Down.ACK)
    await board.subscribe(topic)
    acks = AckPublisher(link)
    for n in range(100):
        acks.offer("a", Ack(boot_id="one", sequence=n))
    acks.offer("a", Ack(boot_id="two", sequence=5))
    task = asyncio.create_task(acks.run())
    await until(lambda: len(box.messages) == 2, "both arrive")
    assert {(a.boot_id, a.sequence) for a in (codec.decode(Ack, m) for m in box.on(topic))} == {("one", 99), ("two", 5)}
    assert not any(m.retain for m in box.messages)
    task.cancel()


async def test_a_lost_connection_does_not_end_it(open_link: OpenLink, broker: PlainBroker) -> None:
    link = await open_link("controller")
    acks = AckPublisher(link)
    task = asyncio.create_task(acks.run())
    broker.kill()
    await until(lambda: not link.state.value.connected, "the loss is noticed")
    acks.offer("a", Ack(boot_id="one", sequence=1))
    await until(lambda: not acks._acks, "it is given up")
    broker.start()
    board = await open_link("a")
    box = Mailbox(board)
    await board.subscribe(topics.down("a", topics.Down.ACK))
    await until(lambda: link.state.value.connected, "it reconnects")
    acks.offer("a", Ack(boot_id="one", sequence=2))
    await until(lambda: box.messages, "the next one arrives")
    task.cancel()
