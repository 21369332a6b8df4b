"""Each key once, never twice at a time, later when asked for."""

import asyncio

import pytest

from litefleet_controller.workqueue import WorkQueue

A, B = "a", "b"


async def next_of(queue: WorkQueue[str]) -> str:
    async with asyncio.timeout(5):
        return await queue.get()


async def is_empty(queue: WorkQueue[str]) -> bool:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    empty = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return empty


async def test_adding_twice_is_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for request in (A, A, B, A):
        queue.add(request)
    assert [await next_of(queue), await next_of(queue)] == [A, B]
    assert await is_empty(queue)


async def test_what_is_added_while_it_runs_runs_once_more_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add(A)
    await next_of(queue)
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert await next_of(queue) == B
    assert await is_empty(queue), "the same key must not run twice at a time"
    queue.done(A)
    assert await next_of(queue) == A
    queue.done(A)
    assert await is_empty(queue)


async def test_a_key_for_later_comes_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    began = loop.time()
    queue.add_after(A, 0.05)
    queue.add(B)
    assert await next_of(queue) == B
    assert await next_of(queue) == A
    assert loop.time() - began >= 0.05


async def test_the_earlier_of_two_times_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after(A, 60)
    queue.add_after(A, 0.01)
    assert await next_of(queue) == A
    queue.done(A)
    assert await is_empty(queue)


async def test_running_now_replaces_the_time_it_waited_for() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after(A, 0.01)
    queue.add(A)
    assert await next_of(queue) == A
    queue.done(A)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await queue.get()
