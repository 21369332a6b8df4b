"""Files under way, for callers that come back and look: a fetch goes on while anybody wants it, and no longer.

A reconciler must not wait for a download of hours: it says what its object needs, hears where each file is, and comes
back. Whoever wants the same file shares one fetch. One that failed is begun again when somebody asks after a pause that
grows.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from litefleet_controller.sources.interface import (
    Fetcher,
    Fetching,
    NotFetched,
    SourceError,
    State,
    Wanted,
)

log = structlog.get_logger()

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class _Flight:
    owners: set[Hashable] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    state: State = field(default_factory=Fetching)
    failures: int = 0
    again_at: float | None = None
    """On the loop's clock; None for never."""


class Fetches:
    """Implements nothing but itself. Build it inside a running event loop, and close it."""

    def __init__(self, fetcher: Fetcher, clock: Callable[[], float]) -> None:
        """`clock`: seconds that never go back."""
        self._fetcher = fetcher
        self._clock = clock
        self._flights: dict[Wanted, _Flight] = {}

    def want(self, owner: Hashable, files: Sequence[Wanted]) -> list[State]:
        """Where each file is. Fetches what isn't here; what `owner` wanted before and doesn't now is given up."""
        self._leave(owner, keep=files)
        return [self._look(owner, wanted) for wanted in files]

    def release(self, owner: Hashable) -> None:
        """`owner` wants nothing more."""
        self._leave(owner, keep=())

    async def close(self) -> None:
        """Stop all; what was received is kept for the next time."""
        tasks = [f.task for f in self._flights.values() if f.task is not None]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, owner: Hashable, keep: Iterable[Wanted]) -> None:
        kept = set(keep)
        for wanted, flight in list(self._flights.items()):
            if owner not in flight.owners or wanted in kept:
                continue
            flight.owners.discard(owner)
            if not flight.owners:
                del self._flights[wanted]
                if flight.task is not None:
                    flight.task.cancel()

    def _look(self, owner: Hashable, wanted: Wanted) -> State:
        flight = self._flights.setdefault(wanted, _Flight())
        flight.owners.add(owner)
        if flight.task is None and isinstance(flight.state, Fetching):
            self._start(wanted, flight)
        elif isinstance(flight.state, NotFetched) and flight.again_at is not None:
            left = flight.again_at - self._clock()
            if left <= 0:
                flight.state = Fetching()
                self._start(wanted, flight)
            else:
                return NotFetched(flight.state.code, flight.state.message, left)
        return flight.state

    def _start(self, wanted: Wanted, flight: _Flight) -> None:
        flight.task = asyncio.create_task(self._fly(wanted, flight), name=f"fetch {wanted.uri[:80]}")

    async def _fly(self, wanted: Wanted, flight: _Flight) -> None:
        def tell(state: Fetching) -> None:
            flight.state = state

        try:
            flight.state = await self._fetcher.fetch(wanted, tell)
            log.info("fetched", uri=wanted.uri, digest=flight.state.digest, bytes=flight.state.size)
        except SourceError as e:
            self._fail(wanted, flight, e)
        except Exception as e:  # the task's edge: what nobody foresaw is said, too, and tried again
            log.exception("fetch failed", uri=wanted.uri)
            self._fail(wanted, flight, SourceError("FetchFailed", f"it can't be fetched: {type(e).__name__}: {e}"))
        finally:
            flight.task = None

    def _fail(self, wanted: Wanted, flight: _Flight, error: SourceError) -> None:
        flight.failures += 1
        message = f"{error}; {error.hint}" if error.hint else str(error)
        if error.final:
            flight.again_at, pause = None, None
        else:
            pause = max(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (flight.failures - 1)), error.retry_after_s or 0.0)
            flight.again_at = self._clock() + pause
        flight.state = NotFetched(error.code, message, pause)
        log.info("not fetched", uri=wanted.uri, code=error.code, message=message, again_in_s=pause)
