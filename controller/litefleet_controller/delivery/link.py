"""One connection to the broker: the controller's only importer of paho.

paho runs on asyncio's own selector through its external-loop hooks instead of `loop_start()`, whose select() silently
never connects once the process has 1,024 files open (a controller with many watches has). Only connecting, which
blocks on DNS, TCP and TLS, happens in a thread. Each connection gets a fresh client: nothing that an old one queued
comes out late. Callbacks only sort and queue. Who keeps connections coming is mqtt.py.

What is published waits for a window that no broker's Receive Maximum is below; paho itself ignores that limit.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from litefleet_controller.delivery.errors import LinkDownError, RefusedError
from litefleet_controller.delivery.interface import Incoming
from litefleet_protocol.limits import MAX_CONTROL_BYTES, MAX_MANIFEST_BYTES
from litefleet_protocol.topics import ROOT

MAX_TOPIC_CHARS = 256
MAX_PACKET_BYTES = MAX_MANIFEST_BYTES + 64 * 1024
"""Told to the broker, which then keeps larger packets to itself, so that no device can make this process buffer one."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and how to trust it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What may be tuned; the defaults fit mosquitto as litefleet configures it."""

    window: int = 20
    """Messages under way without PUBACK: the broker's max_inflight_messages."""
    keepalive_s: int = 15
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0
    """A broker that takes longer to acknowledge counts as gone: the connection is made anew."""
    backoff_s: tuple[float, float] = (0.2, 15.0)
    """First and longest wait between two attempts; doubled in between, halved at random."""
    queue: int = 4096
    """Incoming messages waiting for the reader; above it the socket is left unread, and the broker waits."""


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def client_tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with a client certificate, trusting the fleet CA alone.

    Raises:
        OSError: a file that can't be read, or doesn't hold what it should (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TidySocket
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=ca)
    context.load_cert_chain(certificate, key)
    return context


class Connection:
    """From connecting to the end. Everything but `_connect` runs on the event loop."""

    def __init__(
        self, address: BrokerAddress, client_id: str, options: LinkOptions, take: Callable[[Incoming | str], bool]
    ) -> None:
        self._address = address
        self._options = options
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._acks: dict[int, asyncio.Future[ReasonCode]] = {}
        self._window = asyncio.Semaphore(options.window)
        self._socket: Any = None
        self._reading = False
        self._ticker: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Future[None] | None = None
        self._client = self._make_client(client_id)

    def _make_client(self, client_id: str) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = self._options.connect_timeout_s
        client.max_inflight_messages_set(self._options.window)
        if self._address.tls is not None:
            client.tls_set_context(self._address.tls)
        client.on_connect = lambda _c, _u, _flags, reason, properties: self._connected(reason, properties)
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: self._end(str(reason))
        client.on_message = lambda _c, _u, message: self._received(message)
        client.on_publish = lambda _c, _u, mid, reason, _p: self._acknowledged(mid, reason)
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: self._acknowledged(mid, reasons[0])
        client.on_socket_register_write = lambda _c, _u, sock: self._want_write(sock)
        client.on_socket_unregister_write = lambda _c, _u, sock: self._written(sock)
        client.on_socket_close = lambda *_: self._forget_socket()
        # An exception in a callback would otherwise come out of loop_read, in the middle of paho's bookkeeping.
        client.suppress_exceptions = True
        return client

    async def open(self) -> None:
        """Connect and wait for CONNACK.

        Raises: OSError, LinkDownError, RefusedError.
        """
        self._connecting = self._loop.run_in_executor(None, self._connect)
        await asyncio.shield(self._connecting)
        self._socket = self._client.socket()
        if self._socket is None:
            raise LinkDownError("the broker closed the connection at once")
        self.resume_reading()
        self._loop.add_writer(self._socket, self._write)
        self._tick()
        async with asyncio.timeout(self._options.connect_timeout_s):
            await self._accepted

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._client.connect(
            self._address.host,
            self._address.port,
            keepalive=self._options.keepalive_s,
            clean_start=True,
            properties=properties,
        )
        connected = self._client.socket()
        if isinstance(connected, socket.socket):
            # Acks and desired state are small and must not wait for Nagle.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def publish(self, topic: str, payload: bytes, *, retain: bool, qos: int) -> None:
        """See `interface.Link`."""
        async with self._window:
            if self.ended.done():
                raise LinkDownError(f"the connection was lost before {topic!r} could be sent")
            try:
                info = self._client.publish(topic, payload, qos=qos, retain=retain)
            except ValueError as e:
                raise RefusedError(topic, str(e)) from e
            if qos:
                self._check(await self._ack(info.mid, topic), topic)

    async def subscribe(self, topic: str) -> None:
        """See `interface.Link`."""
        result, mid = self._client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise LinkDownError(f"the connection was lost before the subscription of {topic!r} could be sent")
        self._check(await self._ack(mid, topic), topic)

    async def _ack(self, mid: int, topic: str) -> ReasonCode:
        self._acks[mid] = future = self._loop.create_future()
        # A timer of our own: asyncio.timeout costs a task switch's worth of CPU for each chunk of each artifact.
        timer = self._loop.call_later(self._options.ack_timeout_s, self._give_up, topic)
        try:
            reason: ReasonCode = await future
        finally:
            timer.cancel()
            self._acks.pop(mid, None)
        return reason

    def _give_up(self, topic: str) -> None:
        self._end(f"no acknowledgement of {topic!r} within {self._options.ack_timeout_s} s")

    @staticmethod
    def _check(reason: ReasonCode, topic: str) -> None:
        if reason.is_failure:
            raise RefusedError(topic, str(reason))

    async def close(self) -> None:
        """Say good-bye to the broker, briefly."""
        self._client.disconnect()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), 1.0)

    def abandon(self) -> None:
        """Let go of the socket and of everyone who waits."""
        self._end("closed")
        if self._ticker is not None:
            self._ticker.cancel()
        if self._connecting is not None and not self._connecting.done():
            # Cancelled meanwhile: the thread can't be, so its socket is closed when it comes.
            self._connecting.add_done_callback(self._close_late)
        else:
            self._close_socket()

    def _close_late(self, connecting: asyncio.Future[None]) -> None:
        if not connecting.cancelled():
            connecting.exception()
        self._close_socket()

    def _close_socket(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            self._forget_socket()
            sock.close()

    def _end(self, reason: str) -> None:
        if self.ended.done():
            return
        self.ended.set_result(reason)
        if not self._accepted.done():
            self._accepted.set_exception(LinkDownError(reason))
            self._accepted.exception()  # nobody may be waiting for it any more
        for future in self._acks.values():
            if not future.done():
                future.set_exception(LinkDownError(f"the connection was lost: {reason}"))

    # --- the socket on asyncio's selector ---

    def resume_reading(self) -> None:
        """Read again after the queue was full."""
        if not self._reading and self._socket is not None:
            self._reading = True
            self._loop.add_reader(self._socket, self._read)
            if self._pending():
                self._loop.call_soon(self._read)

    def _pause_reading(self) -> None:
        if self._reading and self._socket is not None:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def _read(self) -> None:
        # What TLS has decrypted already makes no socket readable, hence the loop.
        while self._reading:
            self._client.loop_read()
            if not self._pending():
                return

    def _pending(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._reading and self._socket.pending() > 0

    def _write(self) -> None:
        self._client.loop_write()

    def _tick(self) -> None:
        """Keep alive, as paho does it. A paused reader sees no PINGRESP, and isn't to blame the broker for it."""
        if self._reading:
            self._client.loop_misc()
        self._ticker = self._loop.call_later(1.0, self._tick)

    def _want_write(self, sock: Any) -> None:
        if self._socket is not None:
            self._loop.add_writer(sock, self._write)

    def _written(self, sock: Any) -> None:
        if self._socket is not None:
            self._loop.remove_writer(sock)

    def _forget_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._reading = False
        self._socket = None

    # --- what paho calls back ---

    def _connected(self, reason: ReasonCode, properties: Properties | None) -> None:
        if self._accepted.done():
            return
        if reason.is_failure:
            self._accepted.set_exception(RefusedError("CONNECT", str(reason)))
            return
        maximum = getattr(properties, "ReceiveMaximum", self._options.window)
        if maximum < self._options.window:
            self._window = asyncio.Semaphore(maximum)
        self._accepted.set_result(None)

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        future = self._acks.get(mid)
        if future is not None and not future.done():
            future.set_result(reason)

    def _received(self, message: mqtt.MQTTMessage) -> None:
        if not self._take(_checked(message)):
            self._pause_reading()


def _checked(message: mqtt.MQTTMessage) -> Incoming | str:
    """The message, or the name of the limit that it breaks."""
    try:
        topic = message.topic
    except UnicodeDecodeError:
        return "topic_not_utf8"
    if len(topic) > MAX_TOPIC_CHARS:
        return "topic_too_long"
    # What is under a/ only the controller may write.
    limit = MAX_MANIFEST_BYTES if topic.startswith(f"{ROOT}/a/") else MAX_CONTROL_BYTES
    if len(message.payload) > limit:
        return "payload_too_large"
    return Incoming(topic, bytes(message.payload), message.retain)
