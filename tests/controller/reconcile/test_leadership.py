"""One leads at a time; a new one has a higher epoch; a lost lease ends the work."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import pytest

from litefleet_controller.reconcile import leadership
from litefleet_controller.reconcile.leadership import LEASE_S, Leadership
from litefleet_controller.store.errors import StaleEpochError
from litefleet_controller.store.interface import Lease
from tests.controller.reconcile.conftest import World


class Work:
    """Notes the epochs that it was run in."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.running = False
        self._changed = asyncio.Event()

    async def __call__(self, epoch: int) -> None:
        self.epochs.append(epoch)
        self.running = True
        self._changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RENEW_S", 0.05)


async def test_it_leads_and_gives_the_lease_up_at_the_end(world: World) -> None:
    first, second = Work(), Work()
    task = asyncio.create_task(Leadership(world.leases, "one", world.clock, first).run())
    await first.until(lambda: first.running)
    await ended(task)
    assert not first.running
    # No need to wait for the lease's end: it was released.
    task = asyncio.create_task(Leadership(world.leases, "two", world.clock, second).run())
    await second.until(lambda: second.running)
    await ended(task)
    assert second.epochs[0] > first.epochs[0]


async def test_a_second_one_waits_until_the_lease_is_over(world: World) -> None:
    await world.leases.acquire("one", world.clock(), LEASE_S)
    work = Work()
    task = asyncio.create_task(Leadership(world.leases, "two", world.clock, work).run())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await work.until(lambda: work.running)
    world.clock.forward(LEASE_S + 1)
    await work.until(lambda: work.running)
    await ended(task)


async def test_losing_the_lease_ends_the_work(world: World) -> None:
    work = Work()
    task = asyncio.create_task(Leadership(world.leases, "one", world.clock, work).run())
    await work.until(lambda: work.running)
    await world.leases.release("one")
    thief = await world.leases.acquire("two", world.clock(), LEASE_S)
    assert thief is not None
    await work.until(lambda: not work.running)
    await ended(task)
    assert work.epochs == [thief.epoch - 1]


async def test_a_report_from_the_future_raises_the_epoch_above_it(world: World) -> None:
    work = Work()
    held = Leadership(world.leases, "one", world.clock, work)
    task = asyncio.create_task(held.run())
    await work.until(lambda: work.running)
    held.raise_epoch(41)
    await work.until(lambda: len(work.epochs) == 2)
    await ended(task)
    assert work.epochs[1] == 42


async def test_work_that_finds_its_epoch_over_is_begun_anew(world: World) -> None:
    calls = 0
    again = asyncio.Event()

    async def lead(epoch: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ExceptionGroup("workers", [StaleEpochError(epoch, epoch + 1)])
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Leadership(world.leases, "one", world.clock, lead).run())
    async with asyncio.timeout(10):
        await again.wait()
    await ended(task)


async def test_a_crash_of_the_work_is_not_swallowed(world: World) -> None:
    async def lead(_: int) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Leadership(world.leases, "one", world.clock, lead).run()


async def test_a_database_that_is_away_for_a_moment_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = world.leases.acquire
    failing = iter([OSError("database is locked"), OSError("disk is full")])

    async def unwell(holder: str, now: datetime, seconds: float) -> Lease | None:
        for error in failing:
            raise error
        return await acquire(holder, now, seconds)

    monkeypatch.setattr(world.leases, "acquire", unwell)
    work = Work()
    task = asyncio.create_task(Leadership(world.leases, "one", world.clock, work).run())
    await work.until(lambda: work.running)
    await ended(task)


async def test_a_database_that_is_away_at_the_end_hides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unwell(_: str) -> None:
        raise OSError("database is locked")

    monkeypatch.setattr(world.leases, "release", unwell)
    work = Work()
    task = asyncio.create_task(Leadership(world.leases, "one", world.clock, work).run())
    await work.until(lambda: work.running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
