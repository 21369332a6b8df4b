"""Reconcilers run on changes, again when they ask for it, and less and less often when they fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from litefleet_controller.reconcile.interface import Binding, Request, Result, Source, TerminalError, itself
from litefleet_controller.reconcile.runtime import FIRST_RETRY_S, LONGEST_RETRY_S, Runtime, _next, retry_delay
from litefleet_controller.store.errors import ConflictError, StaleEpochError
from litefleet_controller.store.interface import Key, Page, Query
from tests.controller.reconcile.conftest import World

CPU = {"variants": ["float32"]}
REQUEST = Request("default", "x")


class Counting:
    """A reconciler that notes what it was asked for, and answers as it is told."""

    def __init__(self, answer: Callable[[int], Result] = lambda _: Result()) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._changed = asyncio.Event()

    async def reconcile(self, request: Request) -> Result:
        self.requests.append(request)
        self._changed.set()
        return self._answer(len(self.requests))

    async def until(self, condition: Callable[[list[Request]], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition(self.requests):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(world: World, reconciler: Counting) -> AsyncIterator[None]:
    runtime = Runtime(world.objects, [Binding("classes", reconciler, (Source("DeviceClass", itself),))])
    task = asyncio.create_task(runtime.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_there_at_the_start_and_what_comes_later_are_both_reconciled(world: World) -> None:
    await world.create("DeviceClass", "before", CPU)
    reconciler = Counting()
    async with running(world, reconciler):
        await reconciler.until(lambda r: Request("default", "before") in r)
        await world.create("DeviceClass", "after", CPU)
        await reconciler.until(lambda r: Request("default", "after") in r)


async def test_a_deletion_is_reconciled(world: World) -> None:
    await world.create("DeviceClass", "gone", CPU)
    reconciler = Counting()
    async with running(world, reconciler):
        await reconciler.until(lambda r: len(r) == 1)
        await world.objects.delete(Key("DeviceClass", "default", "gone"))
        await reconciler.until(lambda r: len(r) == 2)


async def test_a_failure_is_tried_again_without_a_change(world: World) -> None:
    def fail_once(call: int) -> Result:
        if call == 1:
            raise RuntimeError("the database was away")
        return Result()

    await world.create("DeviceClass", "a", CPU)
    reconciler = Counting(fail_once)
    async with running(world, reconciler):
        await reconciler.until(lambda r: len(r) == 2)


async def test_a_reconciler_comes_back_when_it_asked_to(world: World) -> None:
    await world.create("DeviceClass", "a", CPU)
    reconciler = Counting(lambda call: Result(0.01) if call < 4 else Result())
    async with running(world, reconciler):
        await reconciler.until(lambda r: len(r) == 4)


async def test_a_store_that_is_away_for_a_moment_is_listed_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    list_ = world.objects.list
    failing = iter([OSError("database is locked"), OSError("disk is full")])

    async def unwell(query: Query) -> Page:
        for error in failing:
            raise error
        return await list_(query)

    monkeypatch.setattr(world.objects, "list", unwell)
    await world.create("DeviceClass", "a", CPU)
    reconciler = Counting()
    async with running(world, reconciler):
        await reconciler.until(lambda r: Request("default", "a") in r)


async def test_one_objects_failure_does_not_stop_the_others(world: World) -> None:
    class Picky(Counting):
        async def reconcile(self, request: Request) -> Result:
            await super().reconcile(request)
            if request.name == "bad":
                raise RuntimeError("bad")
            return Result()

    reconciler = Picky()
    await world.create("DeviceClass", "bad", CPU)
    async with running(world, reconciler):
        await reconciler.until(lambda r: len(r) >= 2)
        await world.create("DeviceClass", "good", CPU)
        await reconciler.until(lambda r: Request("default", "good") in r)


async def test_an_epoch_that_is_over_ends_the_runtime(world: World) -> None:
    class Stale(Counting):
        async def reconcile(self, request: Request) -> Result:
            raise StaleEpochError(1, 2)

    await world.create("DeviceClass", "a", CPU)
    runtime = Runtime(world.objects, [Binding("classes", Stale(), (Source("DeviceClass", itself),))])
    with pytest.raises(ExceptionGroup) as e:
        async with asyncio.timeout(10):
            await runtime.run()
    assert e.value.subgroup(StaleEpochError) is not None


def test_retries_double_and_are_bounded() -> None:
    delays = [retry_delay(n) for n in range(1, 40)]
    assert delays[0] == FIRST_RETRY_S
    assert delays[1] == 2 * FIRST_RETRY_S
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_RETRY_S


@pytest.mark.parametrize(
    ("outcome", "delay"),
    [
        (Result(), None),
        (Result(7.0), 7.0),
        (TerminalError("never"), None),
        (ConflictError(Key("Model", "default", "m")), FIRST_RETRY_S),
        (RuntimeError("first"), FIRST_RETRY_S),
    ],
)
def test_the_retry_policy(outcome: Result | Exception, delay: float | None) -> None:
    assert _next("test", REQUEST, outcome, {}) == delay


def test_success_forgets_earlier_failures() -> None:
    failures: dict[Request, int] = {}
    for _ in range(3):
        _next("test", REQUEST, RuntimeError(), failures)
    assert failures == {REQUEST: 3}
    _next("test", REQUEST, Result(), failures)
    assert _next("test", REQUEST, RuntimeError(), failures) == FIRST_RETRY_S
