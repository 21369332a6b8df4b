"""One computation for all who ask at the same time."""

import asyncio
from collections.abc import Callable

import pytest

from litefleet_controller.convert.flights import Flights


class Slow:
    """A computation that ends when told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = False
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, tell: Callable[[str], None]) -> str:
        self.runs += 1
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        tell("halfway")
        return "done"


async def test_those_who_ask_together_share_one_run_and_its_progress() -> None:
    flights: Flights[str, str] = Flights()
    slow, first, second = Slow(), [], []
    asked = [asyncio.create_task(flights.join("k", slow, heard.append)) for heard in (first, second)]
    await slow.begun.wait()
    await asyncio.sleep(0)
    slow.go.set()
    assert await asyncio.gather(*asked) == ["done", "done"]
    assert (slow.runs, first, second) == (1, ["halfway"], ["halfway"])


async def test_whoever_asks_later_gets_a_new_run() -> None:
    flights: Flights[str, str] = Flights()
    slow = Slow()
    slow.go.set()
    await flights.join("k", slow, print)
    await flights.join("k", slow, print)
    assert slow.runs == 2


async def test_one_who_leaves_does_not_end_it_for_the_others() -> None:
    flights: Flights[str, str] = Flights()
    slow = Slow()
    leaving, staying = (asyncio.create_task(flights.join("k", slow, lambda _: None)) for _ in range(2))
    await slow.begun.wait()
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    slow.go.set()
    assert await staying == "done"


async def test_the_last_one_who_leaves_ends_it() -> None:
    flights: Flights[str, str] = Flights()
    slow = Slow()
    only = asyncio.create_task(flights.join("k", slow, lambda _: None))
    await slow.begun.wait()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    await asyncio.sleep(0)
    assert slow.cancelled


async def test_an_error_reaches_everybody() -> None:
    flights: Flights[str, str] = Flights()

    async def fails(_: Callable[[str], None]) -> str:
        await asyncio.sleep(0)
        raise ValueError("broken")

    results = await asyncio.gather(*(flights.join("k", fails, print) for _ in range(3)), return_exceptions=True)
    assert [str(r) for r in results] == ["broken"] * 3
