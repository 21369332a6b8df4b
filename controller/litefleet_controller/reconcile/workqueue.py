"""The work queue: each request once, never twice at a time, and later when asked for.

After client-go's workqueue: a request that is added while it is being worked on runs once more afterwards.
"""

import asyncio
import heapq
import itertools

from litefleet_controller.reconcile.interface import Request


class WorkQueue:
    """Requests that wait, run, or wait for a time. For one event loop; times are the loop's."""

    def __init__(self) -> None:
        self._ready: list[Request] = []
        self._waiting: set[Request] = set()
        self._running: set[Request] = set()
        self._again: set[Request] = set()
        self._later: list[tuple[float, int, Request]] = []
        self._due: dict[Request, float] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def add(self, request: Request) -> None:
        """Run `request` as soon as a worker is free."""
        self._due.pop(request, None)
        if request in self._running:
            self._again.add(request)
        elif request not in self._waiting:
            self._waiting.add(request)
            self._ready.append(request)
            self._wake.set()

    def add_after(self, request: Request, seconds: float) -> None:
        """Run `request` in `seconds`, unless it runs before for another reason or is already due earlier."""
        due = asyncio.get_running_loop().time() + max(0.0, seconds)
        if due < self._due.get(request, float("inf")):
            self._due[request] = due
            heapq.heappush(self._later, (due, next(self._order), request))
            self._wake.set()

    async def get(self) -> Request:
        """The next request. The worker must call `done` with it."""
        loop = asyncio.get_running_loop()
        while True:
            self._release_due(loop.time())
            if self._ready:
                request = self._ready.pop(0)
                self._waiting.discard(request)
                self._running.add(request)
                return request
            self._wake.clear()
            wait = self._later[0][0] - loop.time() if self._later else None
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    def done(self, request: Request) -> None:
        """A worker has finished with `request`."""
        self._running.discard(request)
        if request in self._again:
            self._again.discard(request)
            self.add(request)

    def _release_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, _, request = heapq.heappop(self._later)
            # An entry that was superseded by an earlier run or an earlier time stays in the heap until here.
            if self._due.get(request) == due:
                self.add(request)
