"""A broker that breaks the rules costs its own messages and nothing else."""

import queue

from litefleet_agent import events as ev
from tests.hostile_broker import HostileBroker

from .broker import until
from .test_link import make_link


def test_topic_that_is_no_text_is_dropped_and_the_next_message_arrives():
    broker = HostileBroker([(b"lf/v1/\xff\xfe", b"bad"), (b"lf/v1/d/pi-1/down/ack", b"good")])
    mail = queue.SimpleQueue()
    link = make_link(broker.port, iter(["connection-0"]), mail)
    link.start()
    seen = []

    def arrived():
        while not mail.empty():
            seen.append(mail.get())
        return [m for m in seen if getattr(m, "payload", b"") == b"good"]

    until(arrived, "the good one")
    assert [getattr(m, "payload", None) for m in seen] == [None, b"good"]
    assert isinstance(seen[0], ev.Connected)
    assert link.connected
    link.stop()
    broker.close()
