"""What boards send, sorted: topics parsed, messages decoded, each handed to the one who keeps it.

Handing over never waits: reported state and presence replace what waits for the same board, telemetry has a bounded
queue of its own, so that a flood of windows can't hold up the news that a board is gone. What is malformed is dropped
and counted by its code, with one log line in a while; no message ends the loop.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from litefleet_controller.delivery.artifacts import ALL_MANIFESTS
from litefleet_controller.delivery.errors import LinkDownError, RefusedError
from litefleet_controller.delivery.interface import Incoming, Link
from litefleet_protocol import codec, topics
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Need, Presence, Reported
from litefleet_protocol.topics import ManifestTopic, Up, UpTopic

log = structlog.get_logger(__name__)

_LOG_EVERY_S = 10.0


class StateSink(Protocol):
    """Keeps what boards say of themselves."""

    def reported(self, device: str, reported: Reported) -> None:
        """A board's whole state."""
        ...

    def presence(self, device: str, presence: Presence) -> None:
        """A board came or went."""
        ...


class TelemetrySink(Protocol):
    """Keeps windows. Decodes them itself, because it saves what it can of a bad one."""

    def offer(self, device: str, payload: bytes) -> None:
        """A window as it came."""
        ...


class LogSink(Protocol):
    """Keeps the boards' logs."""

    def offer(self, device: str, payload: bytes) -> None:
        """Some entries as they came."""
        ...


class NullLog:
    """For who doesn't keep them: boards hear nothing, and keep them themselves. Implements `LogSink`."""

    def offer(self, device: str, payload: bytes) -> None:
        """See `LogSink`."""


NULL_LOG = NullLog()


class NeedSink(Protocol):
    """Answers boards that miss something."""

    def need(self, device: str, need: Need) -> None:
        """A board misses chunks."""
        ...


class ArtifactSink(Protocol):
    """Wants to know what a broker holds from before."""

    def found(self, namespace: str, digest: str, envelope: bytes) -> None:
        """The broker holds this manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where messages go."""

    state: StateSink
    telemetry: TelemetrySink
    need: NeedSink
    artifacts: ArtifactSink
    others: Mapping[str, Callable[[bytes], None]]
    """Exact topics beside the protocol's, e.g. answers of the broker's own control interface."""
    log: LogSink = NULL_LOG


class Ingest:
    """Reads the link. The only reader there is."""

    def __init__(
        self, link: Link, fleet: str, sinks: Sinks, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._link = link
        self._fleet = fleet
        self._sinks = sinks
        self._monotonic = monotonic
        self._silent_until: dict[str, float] = {}
        self.dropped: Counter[str] = Counter()
        """Messages dropped, by code."""

    async def run(self) -> None:
        """Subscribe and sort. Ends when the link is stopped."""
        for topic in (topics.ALL_UP, ALL_MANIFESTS, *self._sinks.others):
            try:
                await self._link.subscribe(topic)
            except LinkDownError:
                continue  # the link subscribes when it connects
            except RefusedError as e:
                # The link asks again at each connection; what the others bring is worth reading.
                log.error("subscription_refused", topic=topic, error=str(e))  # noqa: TRY400
        async for message in self._link.messages():
            self.take(message)

    def take(self, message: Incoming) -> None:
        """Sort one message."""
        try:
            self._sort(message)
        except ProtocolError as e:
            self._drop(e.code, message, str(e))
        except Exception:
            # The edge of the loop: whatever one message does, the next one is read.
            log.exception("message_crashed", topic=message.topic[:120])
            self.dropped[Code.INTERNAL] += 1

    def _sort(self, message: Incoming) -> None:
        other = self._sinks.others.get(message.topic)
        if other is not None:
            other(message.payload)
            return
        topic = topics.parse(message.topic)
        match topic:
            case UpTopic(device, leaf):
                # An empty retained message is how a topic was cleared; only the broker's memory is concerned.
                if message.payload:
                    self._from_device(device, leaf, message.payload)
            case ManifestTopic(namespace, digest):
                self._sinks.artifacts.found(namespace, digest, message.payload)
            case _:
                raise ProtocolError(Code.BAD_MESSAGE, "a topic that only the controller writes", field="topic")

    def _from_device(self, device: str, leaf: Up, payload: bytes) -> None:
        match leaf:
            case Up.TELEMETRY:
                self._sinks.telemetry.offer(device, payload)
            case Up.LOG:
                self._sinks.log.offer(device, payload)
            case Up.PRESENCE:
                self._sinks.state.presence(device, codec.decode(Presence, payload))
            case Up.NEED:
                self._sinks.need.need(device, codec.decode(Need, payload))
            case Up.REPORTED:
                reported = codec.decode(Reported, payload)
                if reported.device != device:
                    raise ProtocolError(
                        Code.WRONG_DEVICE, f"a report of {reported.device[:63]!r} on {device!r}'s topic", field="device"
                    )
                if reported.fleet != self._fleet:
                    raise ProtocolError(Code.BAD_MESSAGE, f"a report for fleet {reported.fleet[:63]!r}", field="fleet")
                self._sinks.state.reported(device, reported)

    def _drop(self, code: Code, message: Incoming, reason: str) -> None:
        self.dropped[code] += 1
        now = self._monotonic()
        if now >= self._silent_until.get(code, 0.0):
            self._silent_until[code] = now + _LOG_EVERY_S
            log.warning(
                "message_dropped", code=code, topic=message.topic[:120], reason=reason, so_far=self.dropped[code]
            )
