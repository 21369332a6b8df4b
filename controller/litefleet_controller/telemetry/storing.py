"""Storing what boards sent, however long that takes.

Nothing is acknowledged before it is stored, and boards send again: so a database that is locked, full or gone is waited
for, while the caller's queue fills and then drops. What the database will never take is found by halving, so that
nobody else's waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy.exc import DataError, IntegrityError

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def store_at_last(
    batch: Sequence[T],
    store: Callable[[Sequence[T]], Awaitable[None]],
    give_up: Callable[[T, str], None],
    *,
    backoff_s: tuple[float, float],
) -> None:
    """Store all of `batch` in one transaction, or in ever smaller ones.

    `give_up` gets an item that the database refuses for what it holds (PostgreSQL takes no NUL, say), and why;
    `backoff_s` are the first and the longest wait after any other failure.
    """
    wait, longest = backoff_s
    while True:
        try:
            await store(batch)
        except (DataError, IntegrityError) as e:
            if len(batch) == 1:
                give_up(batch[0], str(e.orig))
                return
            half = len(batch) // 2
            await store_at_last(batch[:half], store, give_up, backoff_s=backoff_s)
            await store_at_last(batch[half:], store, give_up, backoff_s=backoff_s)
            return
        except Exception as e:
            log.exception("not_stored", items=len(batch), error=type(e).__name__, again_in_s=wait)
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)
        else:
            return
