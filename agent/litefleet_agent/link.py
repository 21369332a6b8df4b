"""The connection to the broker: MQTT 5, mutual TLS. The only importer of paho on the board.

One thread, named `link`, connects, serves the socket and connects again, for ever. The client library's callbacks only
hand over to the main loop's queue. Sessions start clean: what must survive is in the outbox, and every subscription is
made anew on connecting.

A broker that comes back takes a few hundred TLS handshakes a second, and ten thousand boards lose it in one moment.
Pauses are therefore drawn evenly from nought to a bound that doubles with every failure: after seven of them the boards
come spread over two minutes. A connection that ended at once counts as a failure too, or boards that an overloaded
broker throws out again would come back at once. One that stood for a while is forgiven in proportion: on a radio link
that comes and goes a board is to be online for most of the time, however often it lost its connection before.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from litefleet_agent import events as ev
from litefleet_agent.identity import Identity
from litefleet_agent.interface import Incoming
from litefleet_agent.logs import EventLog
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Presence

if TYPE_CHECKING:
    import ssl

    import paho.mqtt.client as mqtt
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = EventLog(__name__)
_SUCCESS = 0
"""paho's MQTT_ERR_SUCCESS. paho itself is imported by the link's thread: a board serves before it connects."""
MAX_OUTGOING = 200
"""Messages that may wait for the socket; more are refused, and their owners send them again."""
_MQTT_CLEAN_START = True


class Address(Struct, frozen=True):
    """Where the broker is, and who connects."""

    host: str
    port: int
    device: str
    keepalive_s: int = 15
    """A board that is gone is to be shown so within half a minute. Brokers wait for one and a half of this, and
    mosquitto looks every six seconds only."""
    first_pause_s: float = 1.0
    """Bound of the pause after a connection that held."""
    longest_pause_s: float = 120.0
    holds_after_s: float = 30.0
    """A connection that stood this long makes the next pause the shortest; each halving allows one doubling more."""


def failures_after(failures: int, stood_s: float, holds_after_s: float) -> int:
    """How many failures in a row a connection leaves that stood for `stood_s` (0: it never came about).

    A broker that comes and goes every few seconds (a controller killed again and again) must not push its boards to the
    longest pause, which is meant for brokers that take nobody in. So what stood for a while is forgiven in proportion.
    """
    if stood_s <= 0:
        return failures + 1
    return min(failures + 1, max(0, math.ceil(math.log2(holds_after_s / stood_s))))


def tls_context(identity: Identity, *, check_time: bool) -> "ssl.SSLContext":
    """TLS 1.3 with the board's certificate, trusting the fleet's CA alone.

    `check_time` false leaves out validity dates: a board whose clock is wrong must come online all the same.
    """
    import ssl  # on the link's thread, like the client: serving doesn't wait for them

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=str(identity.ca_file))
    context.load_cert_chain(str(identity.certificate_file), str(identity.key_file))
    if not check_time:
        context.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
    return context


class MqttLink:
    """Implements `Link`."""

    def __init__(
        self,
        address: Address,
        tls: "Callable[[], ssl.SSLContext | None]",
        *,
        deliver: Callable[[Incoming | ev.Connected | ev.Disconnected], None],
        random: Callable[[], float],
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._tls = tls
        self._deliver = deliver
        self._random = random
        self._new_id = new_id
        self._clock = clock
        self._topics: dict[str, None] = {}
        self._lock = threading.Lock()
        self._client: mqtt.Client | None = None
        self._connected = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._connected

    def start(self) -> None:
        """Begin connecting."""
        self._thread.start()

    def stop(self) -> None:
        """Say that the board is offline, and end."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.5)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1; False when it can't be taken."""
        client = self._client
        if client is None or not self._connected:
            return False
        try:
            return client.publish(topic, payload, qos=1, retain=retain).rc == _SUCCESS
        except (ValueError, OSError) as e:
            log.warning("not_published", topic=topic, error=e)
            return False

    def subscribe(self, topic: str) -> None:
        """Want a topic's messages, now and after every reconnect."""
        with self._lock:
            self._topics[topic] = None
            if self._client is not None and self._connected:
                self._client.subscribe(topic, qos=1)

    def unsubscribe(self, topic: str) -> None:
        """No longer want them."""
        with self._lock:
            self._topics.pop(topic, None)
            if self._client is not None and self._connected:
                self._client.unsubscribe(topic)

    # --- the link's thread ---

    def _run(self) -> None:
        failures, waited_s = 0, 0.0
        last_error = ""
        while not self._ended.is_set():
            stood_s = 0.0
            try:
                stood_s = self._serve()
            except (OSError, ValueError) as e:
                # Once for each reason: a board that is offline for days must not tell of nothing else.
                tell = log.warning if str(e) != last_error else log.debug
                tell("connection_failed", broker=self._broker, attempt=failures + 1, error=e)
                last_error = str(e)
            except Exception:  # the thread's edge: whatever the library throws, the next attempt is made
                log.exception("link_failed")
            if self._went_down():
                last_error = ""
            failures = failures_after(failures, stood_s, self._address.holds_after_s)
            waited_s = 0.0 if stood_s > 0 else waited_s
            pause_s = self._pause(failures, waited_s)
            waited_s += pause_s
            self._ended.wait(pause_s)

    def _pause(self, failures: int, waited_s: float) -> float:
        """Doubles, but to no more than half of what was waited since the last connection.

        A broker that was away for 20 seconds shall have its boards back in 10 more, however the dice fell before.
        """
        first_s = self._address.first_pause_s
        doubled = min(first_s * 2.0 ** min(failures, 20), self._address.longest_pause_s)
        return min(doubled, max(2 * first_s, waited_s / 2)) * self._random()

    def _serve(self) -> float:
        """One connection from beginning to end; seconds for which it stood."""
        connection = self._new_id()
        client = self._make_client(connection)
        stood_since: list[float] = []

        def on_connect(
            _client: "mqtt.Client", _user: Any, _flags: Any, reason: "ReasonCode", _properties: "Properties | None"
        ) -> None:
            if reason.is_failure:
                log.warning("connection_refused", broker=self._broker, reason=reason)
                return
            stood_since.append(self._clock())
            self._came_up(client, connection)

        client.on_connect = on_connect
        client.connect(
            self._address.host,
            self._address.port,
            keepalive=self._address.keepalive_s,
            clean_start=_MQTT_CLEAN_START,
        )
        try:
            while not self._ended.is_set():
                if client.loop(timeout=0.5) != _SUCCESS:
                    break
            else:
                self._say_goodbye(client, connection)
        finally:
            client.on_message = None
            client.disconnect()
            client.loop(timeout=0.05)
        return self._clock() - stood_since[0] if stood_since else 0.0

    def _make_client(self, connection: str) -> "mqtt.Client":
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        device = self._address.device
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
        tls = self._tls()
        if tls is not None:
            client.tls_set_context(tls)
        client.max_queued_messages_set(MAX_OUTGOING)
        # Without this, publish() writes to the socket on the caller's thread, in the middle of what this one writes.
        client.on_socket_register_write = _leave_writing_to_the_loop
        client.will_set(topics.up(device, topics.Up.PRESENCE), _presence(connection, online=False), qos=1, retain=True)
        client.on_message = self._on_message
        return client

    def _on_message(self, _client: "mqtt.Client", _user: Any, message: "mqtt.MQTTMessage") -> None:
        try:
            self._deliver(Incoming(message.topic, bytes(message.payload)))
        except (UnicodeDecodeError, ValueError) as e:
            log.warning("message_dropped", error=e)

    def _came_up(self, client: "mqtt.Client", connection: str) -> None:
        device = self._address.device
        with self._lock:
            self._client = client
            self._connected = True
            wanted = [f"{topics.ROOT}/d/{device}/down/#", topics.EPOCH, *self._topics]
            for topic in wanted:
                client.subscribe(topic, qos=1)
        client.publish(topics.up(device, topics.Up.PRESENCE), _presence(connection, online=True), qos=1, retain=True)
        log.info("connected", broker=self._broker)
        self._deliver(ev.Connected())

    @property
    def _broker(self) -> str:
        return f"{self._address.host}:{self._address.port}"

    def _went_down(self) -> bool:
        """Say so, when it was up; whether it was."""
        with self._lock:
            was_up, self._connected, self._client = self._connected, False, None
        if was_up:
            log.info("disconnected", broker=self._broker)
            self._deliver(ev.Disconnected())
        return was_up

    def _say_goodbye(self, client: "mqtt.Client", connection: str) -> None:
        """Publish `offline` and give the broker a moment to take it: an orderly disconnect deletes the will."""
        if not self._connected:
            return
        topic = topics.up(self._address.device, topics.Up.PRESENCE)
        farewell = client.publish(topic, _presence(connection, online=False), qos=1, retain=True)
        for _ in range(20):
            if farewell.is_published() or client.loop(timeout=0.05) != _SUCCESS:
                return


def _leave_writing_to_the_loop(_client: "mqtt.Client", _user: Any, _socket: Any) -> None:
    return


def _presence(connection: str, *, online: bool) -> bytes:
    return codec.encode(Presence(online=online, connection=connection))
