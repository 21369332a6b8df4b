"""Latest: what must not get lost in it."""

import asyncio

from litefleet_controller.delivery.latest import Latest, both


async def test_a_reader_sees_the_value_now_and_the_newest_after_each_change() -> None:
    latest = Latest(0)
    values = latest.values()
    assert await anext(values) == 0
    latest.set(1)
    latest.set(2)
    assert await anext(values) == 2
    await values.aclose()  # type: ignore[attr-defined]


async def test_an_equal_value_wakes_nobody() -> None:
    latest = Latest(1)
    values = latest.values()
    await anext(values)
    waiting = asyncio.ensure_future(anext(values))
    latest.set(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    latest.set(2)
    assert await waiting == 2
    await values.aclose()  # type: ignore[attr-defined]


async def test_both_wakes_for_either_also_while_its_reader_is_busy() -> None:
    one, other = Latest(1), Latest("a")
    pairs = both(one, other)
    assert await anext(pairs) == (1, "a")
    other.set("b")  # while the reader has not come back yet
    assert await anext(pairs) == (1, "b")
    one.set(2)
    assert await anext(pairs) == (2, "b")
    await pairs.aclose()  # type: ignore[attr-defined]
