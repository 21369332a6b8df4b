"""A value that others wait on: who lags sees the newest and never a backlog.

Used for the link's state and for the leader's epoch. One event loop only; not thread-safe.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Latest(Generic[T]):
    """Holds a value and wakes whoever waits for the next one."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._waiting: set[asyncio.Event] = set()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value. Setting an equal one wakes nobody."""
        if value == self._value:
            return
        self._value = value
        for event in self._waiting:
            event.set()

    async def values(self) -> AsyncIterator[T]:
        """The value now, then the newest one after each change; never ends."""
        async for value, _ in both(self, self):
            yield value

    def _wake(self, event: asyncio.Event) -> None:
        self._waiting.add(event)

    def _leave(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)


async def both(one: Latest[A], other: Latest[B]) -> AsyncIterator[tuple[A, B]]:
    """The pair now, then the newest pair after each change of either; never ends."""
    event = asyncio.Event()
    sources: tuple[Latest[Any], Latest[Any]] = (one, other)
    for source in sources:
        source._wake(event)
    try:
        while True:
            event.clear()
            yield one.value, other.value
            await event.wait()
    finally:
        for source in sources:
            source._leave(event)
