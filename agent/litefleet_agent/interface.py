"""The ports of the agent: what the main loop expects of the network, so that tests and simulators can stand in."""

from typing import Protocol

from msgspec import Struct


class Incoming(Struct, frozen=True):
    """A message from the broker."""

    topic: str
    payload: bytes


class Link(Protocol):
    """A connection that comes and goes by itself. No method blocks or raises because the network is down."""

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        ...

    def start(self) -> None:
        """Begin connecting."""
        ...

    def stop(self) -> None:
        """Say goodbye and end."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1; False when it can't be taken (down, or too much is waiting)."""
        ...

    def subscribe(self, topic: str) -> None:
        """Want a topic's messages, now and after every reconnect."""
        ...

    def unsubscribe(self, topic: str) -> None:
        """No longer want them."""
        ...
