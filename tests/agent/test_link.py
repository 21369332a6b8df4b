"""The link against a real mosquitto: presence, reconnecting, and not drowning."""

import queue
import random

import pytest

from litefleet_agent import events as ev
from litefleet_agent.link import MAX_OUTGOING, Address, MqttLink, failures_after
from litefleet_protocol import codec
from litefleet_protocol.messages import Presence

from .broker import Client, until


def make_link(port, ids, mail=None, first_pause_s=0.05):
    return MqttLink(
        Address("127.0.0.1", port, "pi-1", keepalive_s=5, first_pause_s=first_pause_s),
        lambda: None,
        deliver=(mail or queue.SimpleQueue()).put,
        random=random.random,
        new_id=lambda: next(ids),
    )


@pytest.fixture
def ids():
    return (f"connection-{n}" for n in range(1000))


@pytest.fixture
def spectator(broker):
    made = Client(broker.port, ["lf/v1/d/pi-1/up/#"])
    yield made
    made.close()


def presence(spectator):
    return [codec.decode(Presence, data) for data in spectator.received("/up/presence")]


def test_presence_says_online_and_at_a_clean_end_offline(broker, spectator, ids):
    link = make_link(broker.port, ids)
    link.start()
    until(lambda: len(presence(spectator)) == 1, "online")
    link.stop()
    until(lambda: len(presence(spectator)) == 2, "offline")
    assert [(m.online, m.connection) for m in presence(spectator)] == [(True, "connection-0"), (False, "connection-0")]


def test_each_connection_has_its_own_id_and_subscriptions_come_back(broker, ids):
    mail = queue.SimpleQueue()
    link = make_link(broker.port, ids, mail)
    link.start()
    until(lambda: link.connected, "connected")
    link.subscribe("lf/v1/a/default/" + "0" * 64 + "/manifest")
    broker.kill()
    until(lambda: not link.connected, "down")
    assert link.publish("lf/v1/d/pi-1/up/reported", b"{}") is False
    broker.start()
    until(lambda: link.connected, "connected again")
    controller = Client(broker.port, ["lf/v1/d/pi-1/up/#"])
    controller.publish("lf/v1/a/default/" + "0" * 64 + "/manifest", b"hello")
    controller.publish("lf/v1/d/pi-1/down/ack", b"there", retain=False)
    seen = []

    def both():
        while not mail.empty():
            seen.append(mail.get())
        return {getattr(m, "payload", b"") for m in seen} >= {b"hello", b"there"}

    until(both, "messages after the reconnect")
    assert [type(m) for m in seen if not hasattr(m, "payload")] == [ev.Connected, ev.Disconnected, ev.Connected]
    assert presence(controller)[-1].connection != "connection-0"
    link.stop()
    controller.close()


def test_queue_of_what_goes_out_is_bounded(broker, ids):
    link = make_link(broker.port, ids)
    link.start()
    until(lambda: link.connected, "connected")
    broker._process.send_signal(19)
    taken = sum(link.publish("lf/v1/d/pi-1/up/telemetry", b"x" * 2000) for _ in range(MAX_OUTGOING * 3))
    broker._process.send_signal(18)
    link.stop()
    assert taken <= MAX_OUTGOING + 30


def test_broker_that_is_not_there_yet_is_waited_for(broker, ids):
    broker.kill()
    link = make_link(broker.port, ids)
    link.start()
    until(lambda: next(ids).endswith(("5", "6", "7", "8", "9")), "some attempts")
    broker.start()
    until(lambda: link.connected, "connected")
    link.stop()


@pytest.mark.parametrize(("failures", "bound"), [(0, 1), (1, 2), (5, 32), (7, 120), (10**6, 120)])
@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_pauses_are_spread_from_nought_to_a_bound_that_doubles_up_to_two_minutes(failures, bound, drawn):
    link = MqttLink(
        Address("127.0.0.1", 1, "pi-1"), lambda: None, deliver=print, random=lambda: drawn, new_id=lambda: "id"
    )
    assert link._pause(failures, waited_s=1e6) == drawn * bound


@pytest.mark.parametrize(
    ("failures", "waited_s", "bound"), [(0, 0, 1), (6, 0, 2), (6, 20, 10), (6, 127, 63.5), (2, 127, 4)]
)
def test_no_pause_is_longer_than_half_of_what_was_waited_since_the_last_connection(failures, waited_s, bound):
    link = MqttLink(
        Address("127.0.0.1", 1, "pi-1"), lambda: None, deliver=print, random=lambda: 1.0, new_id=lambda: "id"
    )
    assert link._pause(failures, waited_s) == bound


class Counting(MqttLink):
    """Remembers how many failures in a row each pause was for, and doesn't pause."""

    def _pause(self, failures, waited_s):
        self.seen = [*getattr(self, "seen", []), failures]
        return 0.01


@pytest.mark.parametrize(
    ("before", "stood_s", "after"),
    [
        (0, 0.0, 1),
        (6, 0.0, 7),
        (6, 31.0, 0),
        (6, 30.0, 0),
        (6, 15.0, 1),
        (6, 12.0, 2),
        (0, 12.0, 1),
        (6, 1.0, 5),
        (6, 0.01, 7),
    ],
)
def test_failures_are_forgiven_in_proportion_to_how_long_the_connection_stood(before, stood_s, after):
    assert failures_after(before, stood_s, 30.0) == after


@pytest.mark.parametrize(("held_s", "failures"), [(1.0, 1), (31.0, 0)])
def test_connection_that_did_not_hold_counts_as_a_failure(broker, ids, held_s, failures):
    times = iter([0.0, held_s])
    link = Counting(
        Address("127.0.0.1", broker.port, "pi-1"),
        lambda: None,
        deliver=queue.SimpleQueue().put,
        random=random.random,
        new_id=lambda: next(ids),
        clock=lambda: next(times),
    )
    link.start()
    until(lambda: link.connected, "connected")
    broker.kill()
    until(lambda: getattr(link, "seen", None), "a pause")
    link.stop()
    assert link.seen[0] == failures
