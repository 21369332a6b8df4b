"""One computation for all who ask for the same thing at the same time.

A computation goes on while anybody waits for it and is cancelled when the last one is gone. Errors reach everybody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
P = TypeVar("P")


class _Flight(Generic[T, P]):
    def __init__(self) -> None:
        self.listeners: list[Callable[[P], None]] = []
        self.task: asyncio.Task[T] | None = None

    def tell(self, progress: P) -> None:
        for listener in self.listeners:
            listener(progress)


class Flights(Generic[T, P]):
    """Computations under way, by key. T is what comes out, P what is said on the way."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T, P]] = {}

    async def join(
        self, key: str, compute: Callable[[Callable[[P], None]], Awaitable[T]], listener: Callable[[P], None]
    ) -> T:
        """The result of `compute`, started unless it is under way for `key`."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.ensure_future(self._fly(key, flight, compute))
        task = flight.task
        if task is None:
            raise AssertionError("a flight has a task once it is registered")
        flight.listeners.append(listener)
        try:
            return await asyncio.shield(task)
        finally:
            flight.listeners.remove(listener)
            if not flight.listeners and not task.done():
                self._flights.pop(key, None)
                task.cancel()

    async def _fly(self, key: str, flight: _Flight[T, P], compute: Callable[[Callable[[P], None]], Awaitable[T]]) -> T:
        try:
            return await compute(flight.tell)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
