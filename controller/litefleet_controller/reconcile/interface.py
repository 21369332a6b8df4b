"""What a reconciler is, after controller-runtime's Reconciler, Request and Result."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from litefleet_controller.store.interface import Event, Key


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """Identity of what to look at. Never its state: that is read anew."""

    namespace: str
    name: str

    def key(self, kind: str) -> Key:
        """The object's key, for a reconciler of `kind`."""
        return Key(kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Result:
    """How it went. Without `requeue_after_s` only a change brings the request back."""

    requeue_after_s: float | None = None


class TerminalError(Exception):
    """A failure that the same state would bring again: not retried until something changes."""


class Reconciler(Protocol):
    """Brings objects of one kind closer to what they ask for."""

    async def reconcile(self, request: Request) -> Result:
        """Look at one object. It may be gone.

        Raises:
            TerminalError: trying again without a change is pointless. Every other exception is retried.
        """
        ...


Mapper = Callable[[Sequence[Event]], Awaitable[Iterable[Request]]]
"""Which requests these changes call for. At the start it gets all objects of a kind at once, later one change."""


@dataclass(frozen=True, slots=True)
class Source:
    """Changes of one kind, and the requests that they call for."""

    kind: str
    requests: Mapper


@dataclass(frozen=True, slots=True)
class Binding:
    """A reconciler with the changes that wake it."""

    name: str
    reconciler: Reconciler
    sources: tuple[Source, ...]
    workers: int = 1


Now = Callable[[], datetime]
"""The clock, aware, UTC."""


async def itself(events: Sequence[Event]) -> Iterable[Request]:
    """The mapper of a kind's own reconciler."""
    return [Request(e.record.key.namespace, e.record.key.name) for e in events]
