"""What is to be done, each thing once and never twice at the same time.

The queue of Kubernetes' controllers (client-go's workqueue): adding what already waits changes nothing, adding what is
being worked on makes it come again afterwards.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K")


class Worklist(Generic[K]):
    """Keys waiting for workers. One event loop only."""

    def __init__(self) -> None:
        self._order: deque[K] = deque()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Let `key` be worked on, once more if someone is at it now."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._order.append(key)
            self._some.set()

    async def get(self) -> K:
        """The next key; `done` must follow."""
        while not self._order:
            self._some.clear()
            await self._some.wait()
        key = self._order.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """`key` has been worked on."""
        self._working.discard(key)
        if key in self._waiting:
            self._order.append(key)
            self._some.set()
