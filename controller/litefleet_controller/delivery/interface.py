"""The port to the broker. Everything in delivery/ but link.py speaks to this."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from litefleet_controller.delivery.latest import Latest


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came in. `retain`: the broker had it stored, it is not news."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class LinkState:
    """`generation` counts connections. A new one says: the broker may have lost all that was ever published."""

    connected: bool
    generation: int


class Link(Protocol):
    """One connection to the broker, kept up."""

    @property
    def state(self) -> Latest[LinkState]:
        """Whether it is connected, and for which time. Becomes connected once every subscription is in place."""
        ...

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        ...

    async def stop(self) -> None:
        """Disconnect and end `messages()`."""
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        """Returns when the broker has it (QoS 1: PUBACK), which says nothing about devices.

        Waits while the window of unacknowledged messages is full.

        Raises: LinkDownError, RefusedError.
        """
        ...

    async def subscribe(self, topic: str) -> None:
        """Subscribe, now if connected and again at each connection.

        Raises: LinkDownError, RefusedError. The subscription stays wanted after a LinkDownError.
        """
        ...

    def messages(self) -> AsyncIterator[Incoming]:
        """What comes in, for one reader. Ends after `stop()`."""
        ...
