"""The link to the broker, kept up: it reconnects for ever, subscribes anew, and says so.

Called by the composition root, which gives it to everything else in delivery/ as `interface.Link`. The single
connection underneath, and paho with it, is in link.py.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable

import structlog

from litefleet_controller.delivery.backoff import Backoff
from litefleet_controller.delivery.errors import LinkDownError, RefusedError
from litefleet_controller.delivery.interface import Incoming, LinkState
from litefleet_controller.delivery.latest import Latest
from litefleet_controller.delivery.link import BrokerAddress, Connection, LinkOptions

log = structlog.get_logger(__name__)

STEADY_S = 5.0
"""A connection that stood this long was none that ended at once (another client with this id, say)."""


class MqttLink:
    """Implements `interface.Link`."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        options: LinkOptions = LinkOptions(),  # noqa: B008 - frozen
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._address = address
        self._client_id = client_id
        self._options = options
        self._jitter = jitter
        self._state = Latest(LinkState(connected=False, generation=0))
        self._topics: dict[str, None] = {}
        self._inbox: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._connection: Connection | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = False
        self.dropped: Counter[str] = Counter()
        """Incoming messages that broke a limit, by which."""
        self.failures = 0
        """Connections that didn't come about."""

    @property
    def state(self) -> Latest[LinkState]:
        """See `interface.Link`."""
        return self._state

    async def start(self) -> None:
        """See `interface.Link`."""
        self._supervisor = asyncio.create_task(self._keep_connected(), name="mqtt-link")

    async def stop(self) -> None:
        """See `interface.Link`."""
        self._stopping = True
        if self._connection is not None:
            await self._connection.close()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        self._arrived.set()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        """See `interface.Link`."""
        await self._live().publish(topic, payload, retain=retain, qos=qos)

    async def subscribe(self, topic: str) -> None:
        """See `interface.Link`."""
        self._topics[topic] = None
        if self._connection is not None:
            await self._connection.subscribe(topic)

    async def messages(self) -> AsyncIterator[Incoming]:
        """See `interface.Link`."""
        while True:
            while self._inbox:
                yield self._inbox.popleft()
                if self._connection is not None and len(self._inbox) <= self._options.queue // 2:
                    self._connection.resume_reading()
            if self._stopping:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def _live(self) -> Connection:
        if self._connection is None or not self._state.value.connected:
            raise LinkDownError(f"not connected to the broker at {self._address.host}:{self._address.port}")
        return self._connection

    async def _keep_connected(self) -> None:
        backoff = Backoff(*self._options.backoff_s, STEADY_S)
        wait = 0.0
        while not self._stopping:
            try:
                wait = backoff.ended(wait, await self._one_connection())
            except (OSError, LinkDownError, RefusedError) as e:
                self.failures += 1
                wait = backoff.failed(wait)
                log.warning("mqtt_connect_failed", broker=self._shown(), error=str(e)[:300], again_in_s=round(wait, 2))
            except Exception:
                # The edge of the loop: whatever a connection died of, the next one must come.
                log.exception("mqtt_connection_crashed", broker=self._shown())
                wait = backoff.longest_s
            if not self._stopping:
                await asyncio.sleep(wait * (0.5 + 0.5 * self._jitter()))

    async def _one_connection(self) -> float:
        """Connect, subscribe, stay until the connection ends; for how many seconds it stood."""
        connection = Connection(self._address, self._client_id, self._options, self._take)
        try:
            await connection.open()
            since = time.monotonic()
            self._connection = connection
            for topic in list(self._topics):
                await self._resubscribe(connection, topic)
            generation = self._state.value.generation + 1
            self._state.set(LinkState(connected=True, generation=generation))
            log.info("mqtt_connected", broker=self._shown(), generation=generation)
            reason = await connection.ended
            if not self._stopping:
                log.warning("mqtt_connection_lost", broker=self._shown(), reason=reason)
            return time.monotonic() - since
        finally:
            self._connection = None
            self._state.set(LinkState(connected=False, generation=self._state.value.generation))
            connection.abandon()

    async def _resubscribe(self, connection: Connection, topic: str) -> None:
        try:
            await connection.subscribe(topic)
        except RefusedError as e:
            # The other topics work on; who asked first for this one was told.
            log.error("mqtt_subscription_refused", topic=topic, error=str(e))  # noqa: TRY400

    def _take(self, message: Incoming | str) -> bool:
        """Queue a message, or count why it was dropped; False when the queue is full now."""
        if isinstance(message, str):
            self.dropped[message] += 1
            return True
        self._inbox.append(message)
        self._arrived.set()
        return len(self._inbox) < self._options.queue

    def _shown(self) -> str:
        return f"{self._address.host}:{self._address.port}"
