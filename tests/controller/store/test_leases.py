"""Leadership."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from litefleet_controller.store.database import Database
from litefleet_controller.store.leases import SqlLeases


@dataclass
class Clock:
    """A monotonic clock that the test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def leases(database):
    return SqlLeases(database)


async def test_the_first_holder_leads_in_epoch_one(leases, clock):
    lease = await leases.acquire("a", clock(), 15)
    assert (lease.holder, lease.epoch, lease.expires_at) == ("a", 1, clock() + timedelta(seconds=15))


async def test_renewing_keeps_the_epoch_and_moves_the_end(leases, clock):
    await leases.acquire("a", clock(), 15)
    clock.advance(10)
    lease = await leases.acquire("a", clock(), 15)
    assert (lease.epoch, lease.expires_at) == (1, clock() + timedelta(seconds=15))


async def test_nobody_else_leads_while_it_runs(leases, clock):
    await leases.acquire("a", clock(), 15)
    clock.advance(14.9)
    assert await leases.acquire("b", clock(), 15) is None


async def test_taking_over_an_expired_lease_raises_the_epoch(leases, clock):
    await leases.acquire("a", clock(), 15)
    clock.advance(15)
    assert (await leases.acquire("b", clock(), 15)).epoch == 2
    assert await leases.acquire("a", clock(), 15) is None


async def test_a_holder_that_let_its_own_lease_run_out_gets_a_new_epoch(leases, clock):
    await leases.acquire("a", clock(), 15)
    clock.advance(60)
    assert (await leases.acquire("a", clock(), 15)).epoch == 2


async def test_the_lease_of_a_process_that_is_gone_is_taken_over_at_once(database, clock):
    leases = SqlLeases(database, gone=lambda holder: holder == "a")
    await leases.acquire("a", clock(), 15)
    assert (await leases.acquire("b", clock(), 15)).epoch == 2
    assert await leases.acquire("c", clock(), 15) is None


async def test_a_lease_that_ends_in_2061_is_over_when_nobody_renews_it_for_a_term(database, clock):
    seconds = Clock()
    leases = SqlLeases(database, monotonic=seconds)
    await leases.acquire("a", datetime(2061, 1, 1, tzinfo=UTC), 15)
    assert await leases.acquire("b", clock(), 15) is None
    seconds.now = 14.9
    assert await leases.acquire("b", clock(), 15) is None
    seconds.now = 15.0
    lease = await leases.acquire("b", clock(), 15)
    assert (lease.holder, lease.epoch, lease.expires_at) == ("b", 2, clock() + timedelta(seconds=15))


async def test_a_lease_that_ends_in_2061_holds_while_it_is_renewed(database, clock):
    seconds = Clock()
    leases = SqlLeases(database, monotonic=seconds)
    for second in range(0, 60, 4):
        seconds.now = float(second)
        await leases.acquire("a", datetime(2061, 1, 1, 0, 0, second, tzinfo=UTC), 15)
        assert await leases.acquire("b", clock(), 15) is None


async def test_releasing_lets_the_next_one_lead_at_once(leases, clock):
    await leases.acquire("a", clock(), 15)
    await leases.release("b")
    assert await leases.acquire("b", clock(), 15) is None
    await leases.release("a")
    assert (await leases.acquire("b", clock(), 15)).epoch == 2


async def test_the_holder_lifts_the_epoch_and_never_lowers_it(leases, clock):
    await leases.acquire("a", clock(), 15)
    assert (await leases.raise_epoch("a", 41)).epoch == 41
    assert (await leases.raise_epoch("a", 7)).epoch == 41
    assert (await leases.acquire("a", clock(), 15)).epoch == 41


async def test_only_the_holder_lifts_the_epoch(leases, clock):
    assert await leases.raise_epoch("a", 5) is None
    await leases.acquire("a", clock(), 15)
    assert await leases.raise_epoch("b", 5) is None


async def test_of_many_who_want_it_one_gets_it(url, database, clock):
    others = [Database(url) for _ in range(4)]
    won = await asyncio.gather(
        *(SqlLeases(d).acquire(f"h{i}", clock(), 15) for i, d in enumerate(others) for _ in range(3))
    )
    assert len({lease.holder for lease in won if lease is not None}) == 1
    for other in others:
        await other.close()


async def test_a_lease_of_a_clock_that_is_a_little_ahead_is_respected(leases, clock):
    await leases.acquire("a", clock() + timedelta(seconds=10), 15)
    assert await leases.acquire("b", clock(), 15) is None
