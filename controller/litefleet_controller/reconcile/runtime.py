"""The runtime: watches feed queues, workers drain them, and the one retry policy decides what comes back when.

Runs only while this process leads. Who wants to know how a reconciler's failures are treated needs to read `_next`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import structlog

from litefleet_controller.reconcile.interface import Binding, Request, Result, Source, TerminalError
from litefleet_controller.store.errors import ConflictError, ExpiredError, StaleEpochError
from litefleet_controller.store.interface import Event, EventType, Objects, Query
from litefleet_controller.workqueue import WorkQueue

log = structlog.get_logger()

FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 60.0


def retry_delay(failures: int) -> float:
    """Seconds before try number `failures` + 1: doubling, bounded."""
    return float(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16)))


class Runtime:
    """Runs bindings until cancelled."""

    def __init__(self, objects: Objects, bindings: Sequence[Binding]) -> None:
        self._objects = objects
        self._bindings = bindings

    async def run(self) -> None:
        """Run all reconcilers, until cancelled or until a StaleEpochError says that somebody else leads."""
        async with asyncio.TaskGroup() as group:
            for binding in self._bindings:
                queue: WorkQueue[Request] = WorkQueue()
                failures: dict[Request, int] = {}
                for source in binding.sources:
                    group.create_task(self._feed(source, queue), name=f"watch {source.kind} for {binding.name}")
                for worker in range(binding.workers):
                    group.create_task(self._work(binding, queue, failures), name=f"reconcile {binding.name} {worker}")

    async def _feed(self, source: Source, queue: WorkQueue[Request]) -> None:
        """List, then watch; list again when the history is gone, the reader fell behind, or the store was away."""
        failures = 0
        while True:
            try:
                page = await self._objects.list(Query(source.kind))
                there = [Event(EventType.ADDED, record, None) for record in page.records]
                for request in await source.requests(there):
                    queue.add(request)
                failures = 0
                async with aclosing(self._objects.watch(Query(source.kind), page.resource_version)) as events:
                    async for event in events:
                        for request in await source.requests([event]):
                            queue.add(request)
            except ExpiredError:
                log.info("watch expired, listing again", kind=source.kind)
            except Exception:
                # The edge of the loop: a database that is busy for a minute must not end the program.
                failures += 1
                log.exception("watch failed, listing again", kind=source.kind, retry_after_s=retry_delay(failures))
                await asyncio.sleep(retry_delay(failures))

    async def _work(self, binding: Binding, queue: WorkQueue[Request], failures: dict[Request, int]) -> None:
        """`failures` is the binding's: whichever worker comes next goes on counting."""
        while True:
            request = await queue.get()
            try:
                delay = _next(binding.name, request, await self._try(binding, request), failures)
            finally:
                queue.done(request)
            if delay is not None:
                queue.add_after(request, delay)

    async def _try(self, binding: Binding, request: Request) -> Result | Exception:
        try:
            return await binding.reconciler.reconcile(request)
        except StaleEpochError:
            raise  # another process leads: this whole runtime ends
        except Exception as e:  # noqa: BLE001 - the loop's edge: one object's failure must not end the others' work
            return e


def _next(name: str, request: Request, outcome: Result | Exception, failures: dict[Request, int]) -> float | None:
    """The retry policy: seconds until `request` runs again, None for not before a change."""
    if isinstance(outcome, Result):
        failures.pop(request, None)
        return outcome.requeue_after_s
    if isinstance(outcome, TerminalError):
        failures.pop(request, None)
        log.warning(
            "reconcile gave up", reconciler=name, namespace=request.namespace, name=request.name, error=str(outcome)
        )
        return None
    if isinstance(outcome, ConflictError):
        return FIRST_RETRY_S  # somebody wrote meanwhile; the next read sees it
    count = failures[request] = failures.get(request, 0) + 1
    delay = retry_delay(count)
    log.warning(
        "reconcile failed",
        reconciler=name,
        namespace=request.namespace,
        name=request.name,
        failures=count,
        retry_after_s=delay,
        error=f"{type(outcome).__name__}: {outcome}",
        exc_info=outcome if count == 1 else None,
    )
    return delay
