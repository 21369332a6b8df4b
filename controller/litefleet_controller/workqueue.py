"""The work queue: each key once, never twice at a time, and later when asked for.

After client-go's workqueue: a key that is added while it is being worked on comes once more afterwards. Here, beside
the floors, because reconcile/ and delivery/ queue alike.
"""

import asyncio
import heapq
import itertools
from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """Keys that wait, are worked on, or wait for a time. For one event loop; times are the loop's."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def add(self, key: K) -> None:
        """Hand out `key` as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Hand out `key` in `seconds`, unless it comes before for another reason or is already due earlier."""
        due = asyncio.get_running_loop().time() + max(0.0, seconds)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._order), key))
            self._wake.set()

    async def get(self) -> K:
        """The next key. The worker must call `done` with it."""
        loop = asyncio.get_running_loop()
        while True:
            self._release_due(loop.time())
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._running.add(key)
                return key
            self._wake.clear()
            wait = self._later[0][0] - loop.time() if self._later else None
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """A worker has finished with `key`."""
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _release_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            # An entry that was superseded by an earlier run or an earlier time stays in the heap until here.
            if self._due.get(key) == due:
                self.add(key)
