"""Who wants a file comes back and looks; a fetch goes on while anybody wants it."""

import asyncio

from litefleet_controller.sources.fetches import FIRST_PAUSE_S, LONGEST_PAUSE_S, Fetches
from litefleet_controller.sources.interface import Fetched, Fetching, NotFetched, SourceError, State, Tell, Wanted

A, B = Wanted("https://models.test/a"), Wanted("https://models.test/b", f"sha256:{'0' * 64}")


class Scripted:
    """Implements `sources.interface.Fetcher`: ends when it is told how."""

    def __init__(self) -> None:
        self.begun: list[Wanted] = []
        self.ended: list[Wanted] = []
        self.ends: dict[Wanted, asyncio.Future[Fetched]] = {}

    async def fetch(self, wanted: Wanted, tell: Tell) -> Fetched:
        self.begun.append(wanted)
        self.ends[wanted] = asyncio.get_running_loop().create_future()
        tell(Fetching(1, 10))
        try:
            return await self.ends[wanted]
        finally:
            self.ended.append(wanted)


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.fetcher = Scripted()
        self.fetches = Fetches(self.fetcher, lambda: self.now)

    async def want(self, owner: str, *files: Wanted) -> list[State]:
        states = self.fetches.want(owner, files)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return states

    async def fail(self, wanted: Wanted, error: SourceError) -> None:
        self.fetcher.ends[wanted].set_exception(error)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_file_is_under_way_and_then_here() -> None:
    scene = Scene()
    assert await scene.want("m", A) == [Fetching()]
    assert await scene.want("m", A) == [Fetching(1, 10)]
    scene.fetcher.ends[A].set_result(Fetched("sha256:x", 10))
    await asyncio.sleep(0)
    assert await scene.want("m", A) == [Fetched("sha256:x", 10)]
    assert scene.fetcher.begun == [A]
    await scene.fetches.close()


async def test_two_who_want_the_same_share_one_fetch_until_both_are_gone() -> None:
    scene = Scene()
    await scene.want("m", A)
    await scene.want("n", A)
    scene.fetches.release("m")
    await scene.want("n", A)
    assert (scene.fetcher.begun, scene.fetcher.ended) == ([A], [])
    scene.fetches.release("n")
    await asyncio.sleep(0)
    assert scene.fetcher.ended == [A]


async def test_what_is_wanted_no_more_is_given_up() -> None:
    scene = Scene()
    await scene.want("m", A, B)
    await scene.want("m", B)
    await asyncio.sleep(0)
    assert scene.fetcher.ended == [A]
    await scene.fetches.close()
    assert scene.fetcher.ended == [A, B]


async def test_a_failure_is_tried_again_after_pauses_that_grow() -> None:
    scene = Scene()
    await scene.want("m", A)
    pauses = []
    for _ in range(9):
        await scene.fail(A, SourceError("NotFound", "none", hint="push it"))
        (state,) = await scene.want("m", A)
        assert isinstance(state, NotFetched)
        assert (state.code, state.message) == ("NotFound", "none; push it")
        assert state.retry_in_s is not None
        pauses.append(state.retry_in_s)
        scene.now += state.retry_in_s
        assert await scene.want("m", A) == [Fetching()]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    await scene.fetches.close()


async def test_a_refusal_that_would_come_again_is_not_tried_again() -> None:
    scene = Scene()
    await scene.want("m", A)
    await scene.fail(A, SourceError("HostNotAllowed", "no", final=True))
    scene.now += 1e6
    assert await scene.want("m", A) == [NotFetched("HostNotAllowed", "no", None)]
    assert scene.fetcher.begun == [A]


async def test_what_nobody_foresaw_is_said_and_tried_again() -> None:
    scene = Scene()
    await scene.want("m", A)
    scene.fetcher.ends[A].set_exception(ZeroDivisionError("division by zero"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (state,) = await scene.want("m", A)
    assert isinstance(state, NotFetched)
    assert (state.code, state.retry_in_s) == ("FetchFailed", FIRST_PAUSE_S)
