"""Goes on with the ends of namespaces that take more than one transaction.

Nothing of it is lost with the process: a namespace that is found Terminating at the next start is gone on with.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

_log = structlog.get_logger()
GoOn = Callable[[str, int], Awaitable[int | None]]
"""(namespace, where to go on) -> where to go on after another portion; None when there is no more to do at once."""


class Endings:
    """A task for each namespace that is under way."""

    def __init__(self, go_on: GoOn, *, retry_s: float = 1.0) -> None:
        self._go_on = go_on
        self._retry_s = retry_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, after: int) -> None:
        """Go on with `name`, unless somebody does."""
        if name not in self._tasks:
            task = asyncio.create_task(self._work(name, after), name=f"namespace-end-{name}")
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def close(self) -> None:
        """Stop where they stand."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, name: str, after: int | None) -> None:
        while after is not None:
            try:
                after = await self._go_on(name, after)
            except SQLAlchemyError as e:  # a full disk, a lock that others hold: both pass
                _log.warning("namespace_end_delayed", namespace=name, error=str(e)[:200])
                await asyncio.sleep(self._retry_s)
