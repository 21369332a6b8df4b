"""A broker that breaks the rules costs its own messages and nothing else."""

from litefleet_controller.delivery.link import BrokerAddress, LinkOptions
from litefleet_controller.delivery.mqtt import MqttLink
from tests.controller.delivery.conftest import Mailbox, until
from tests.hostile_broker import HostileBroker


async def test_a_topic_that_is_no_text_is_dropped_and_counted() -> None:
    broker = HostileBroker([(b"lf/v1/\xff\xfe", b"bad"), (b"lf/v1/d/a/up/need", b"good")])
    link = MqttLink(BrokerAddress("127.0.0.1", broker.port), "controller", LinkOptions(), jitter=lambda: 0.0)
    await link.start()
    await until(lambda: link.state.value.connected, "it connects")
    box = Mailbox(link)
    await link.subscribe("lf/v1/#")
    await until(lambda: box.messages, "the good one arrives")
    assert [m.payload for m in box.messages] == [b"good"]
    assert link.dropped == {"topic_not_utf8": 1}
    assert link.state.value.connected
    await link.stop()
    broker.close()
