import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from litefleet_controller.api.server import Server
from litefleet_controller.store.transaction import Retention
from tests.controller.api.conftest import NS, World, device

DEVICES = f"{NS}/devices"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Watch:
    """An open watch: its events, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            event: dict[str, Any] = json.loads(await anext(self._lines))
            return event

    async def seen(self) -> tuple[str, str]:
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")

    async def rest(self) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            return [json.loads(line) async for line in self._lines]


@asynccontextmanager
async def watching(client: httpx.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[Watch]:
    async with client.stream("GET", f"{DEVICES}?watch=1&{query}", headers=headers) as response:
        assert response.status_code == 200
        yield Watch(response)


async def version(client: httpx.AsyncClient) -> str:
    found: str = (await client.get(DEVICES)).json()["metadata"]["resourceVersion"]
    return found


async def test_a_watch_from_a_version_sees_every_later_change_in_order(live: httpx.AsyncClient) -> None:
    start = await version(live)
    await live.post(DEVICES, json=device("a"))
    async with watching(live, f"resourceVersion={start}") as watch:
        assert await watch.seen() == ("ADDED", "a")
        await live.patch(f"{DEVICES}/a", json={"metadata": {"labels": {"x": "1"}}}, headers=MERGE)
        assert await watch.seen() == ("MODIFIED", "a")
        await live.patch(f"{DEVICES}/a", json={"metadata": {"labels": {"x": "1"}}}, headers=MERGE)  # changes nothing
        await live.delete(f"{DEVICES}/a")
        deleted = await watch.next()
        assert deleted["type"] == "DELETED"
        assert deleted["object"]["metadata"]["resourceVersion"] == await version(live)


async def test_a_watch_without_a_version_begins_with_what_there_is(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    for query in ("", "resourceVersion=0", "resourceVersion="):
        async with watching(live, query) as watch:
            assert await watch.seen() == ("ADDED", "a")


async def test_initial_events_end_with_an_annotated_bookmark(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(live, query) as watch:
        assert await watch.seen() == ("ADDED", "a")
        bookmark = await watch.next()
        assert bookmark == {
            "type": "BOOKMARK",
            "object": {
                "kind": "Device",
                "apiVersion": "litefleet.dev/v1alpha1",
                "metadata": {
                    "resourceVersion": await version(live),
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            },
        }
        await live.post(DEVICES, json=device("b"))
        assert await watch.seen() == ("ADDED", "b")


async def test_initial_events_without_bookmarks_end_without_one(live: httpx.AsyncClient) -> None:
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    await live.post(DEVICES, json=device("a"))
    async with watching(live, query) as watch:
        assert await watch.seen() == ("ADDED", "a")
        await live.post(DEVICES, json=device("b"))
        assert await watch.seen() == ("ADDED", "b")


async def test_leaving_a_selector_is_deleted_and_entering_it_is_added(live: httpx.AsyncClient) -> None:
    start = await version(live)
    async with watching(live, f"resourceVersion={start}&labelSelector=ring=canary") as watch:
        await live.post(DEVICES, json=device("a", {"ring": "main"}))
        await live.patch(f"{DEVICES}/a", json={"metadata": {"labels": {"ring": "canary"}}}, headers=MERGE)
        assert await watch.seen() == ("ADDED", "a")
        changed = await live.patch(f"{DEVICES}/a", json={"metadata": {"labels": {"ring": "main"}}}, headers=MERGE)
        left = await watch.next()
        assert left["type"] == "DELETED"
        assert left["object"]["metadata"]["resourceVersion"] == changed.json()["metadata"]["resourceVersion"]


async def test_a_watch_of_one_name(live: httpx.AsyncClient) -> None:
    async with watching(live, "fieldSelector=metadata.name=b") as watch:
        await live.post(DEVICES, json=device("a"))
        await live.post(DEVICES, json=device("b"))
        assert await watch.seen() == ("ADDED", "b")


async def test_a_watch_ends_at_its_timeout_without_a_last_word(live: httpx.AsyncClient) -> None:
    async with watching(live, "timeoutSeconds=1") as watch:
        assert await watch.rest() == []


async def test_a_watch_from_the_future_is_silent(live: httpx.AsyncClient) -> None:
    async with watching(live, "resourceVersion=999999999999&timeoutSeconds=1") as watch:
        await live.post(DEVICES, json=device("a"))
        assert await watch.rest() == []


async def test_a_bookmark_comes_before_the_end(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    start = await version(live)
    async with watching(live, f"resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=3") as watch:
        events = await watch.rest()
    assert [e["type"] for e in events] == ["BOOKMARK"]
    assert events[0]["object"]["metadata"] == {"resourceVersion": start}


async def test_a_table_watch_names_its_columns_once(live: httpx.AsyncClient) -> None:
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    await live.post(DEVICES, json=device("a"))
    async with watching(live, query, **TABLE) as watch:
        first = (await watch.next())["object"]
        assert first["columnDefinitions"][0]["name"] == "Name"
        bookmark = (await watch.next())["object"]
        assert bookmark["rows"][0]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await live.post(DEVICES, json=device("b"))
        second = (await watch.next())["object"]
        assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == (None, "b")


async def test_a_table_watch_shows_ages_at_the_time_of_each_row(world: World, live: httpx.AsyncClient) -> None:
    async with watching(live, **TABLE) as watch:
        world.clock.advance(300)
        await live.post(DEVICES, json=device("a"))
        world.clock.advance(30)
        await live.patch(f"{DEVICES}/a", json={"metadata": {"labels": {"x": "1"}}}, headers=MERGE)
        await watch.next()
        assert (await watch.next())["object"]["rows"][0]["cells"][-1] == "30s"


async def test_a_watch_of_metadata_alone(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    async with watching(live, "", Accept=accept) as watch:
        assert (await watch.next())["object"].keys() == {"kind", "apiVersion", "metadata"}


async def test_a_watch_of_one_object_s_path_is_a_plain_get(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    assert (await live.get(f"{DEVICES}/a?watch=1")).json()["kind"] == "Device"


async def test_the_old_watch_path_still_watches(live: httpx.AsyncClient) -> None:
    await live.post(DEVICES, json=device("a"))
    path = "/apis/litefleet.dev/v1alpha1/watch/namespaces/default/devices?timeoutSeconds=1"
    assert [json.loads(line)["type"] for line in (await live.get(path)).text.splitlines()] == ["ADDED"]


async def test_a_watch_in_yaml_is_not_acceptable(live: httpx.AsyncClient) -> None:
    answer = await live.get(f"{DEVICES}?watch=1", headers={"Accept": "application/yaml"})
    assert answer.status_code == 406


async def test_events_can_be_watched(world: World, live: httpx.AsyncClient) -> None:
    from litefleet_controller.store.interface import Key

    async with live.stream("GET", "/api/v1/namespaces/default/events?watch=1") as response:
        await world.events.record(Key("Device", "default", "a"), "u", "Normal", "Seen", "hello", world.clock(), "link")
        assert (await Watch(response).next())["object"]["message"] == "hello"


async def test_many_watchers_see_the_same_events(live: httpx.AsyncClient) -> None:
    start = await version(live)

    async def events() -> str:
        async with watching(live, f"resourceVersion={start}") as watch:
            return json.dumps([await watch.next() for _ in range(20)])

    watchers = [asyncio.create_task(events()) for _ in range(8)]
    for number in range(20):
        await live.post(DEVICES, json=device(f"d{number}"))
    assert len(set(await asyncio.gather(*watchers))) == 1


async def test_stopping_the_server_ends_open_watches_at_once(world: World) -> None:
    server = Server(world.app, "127.0.0.1", 0, before_stop=world.deps.closing.set, grace_s=30)
    host, port = await server.start()
    headers = {"Authorization": f"Bearer {world.admin}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers) as client,
        watching(client) as watch,
        asyncio.timeout(10),
    ):
        stopping = asyncio.create_task(server.stop())
        assert await watch.rest() == []
        await stopping


async def test_a_revoked_token_ends_its_open_watch(world: World, live: httpx.AsyncClient) -> None:
    async with watching(live) as watch:
        await live.post(DEVICES, json=device("a"))
        assert await watch.seen() == ("ADDED", "a")
        await world.tokens.revoke("ada", world.clock())
        assert await watch.rest() == []


async def test_a_client_that_goes_away_leaves_no_watch_behind(world: World, live: httpx.AsyncClient) -> None:
    async with watching(live):
        await _until(lambda: _open_watches() == 1)
    await _until(lambda: _open_watches() == 0)


def _open_watches() -> int:
    return sum(task.get_name() == "stream-pump" for task in asyncio.all_tasks())


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class TestAfterCompaction:
    @pytest.fixture
    def retention(self) -> Retention:
        return Retention(at_least=1, at_most=2, seconds=0, every=1)

    async def test_a_watch_too_old_gets_one_error_event(self, live: httpx.AsyncClient) -> None:
        await live.post(DEVICES, json=device("a"))
        start = await version(live)
        for number in range(6):
            await live.post(DEVICES, json=device(f"d{number}"))
        async with watching(live, f"resourceVersion={start}") as watch:
            (event,) = await watch.rest()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert event["object"]["message"].startswith("too old resource version: ")
