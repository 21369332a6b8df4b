"""A thousand writers at one object: what was acknowledged is there, all of it and nothing else."""

import asyncio

import httpx

from tests.controller.api.conftest import NS, device

WRITERS = 1_000
BOARD = f"{NS}/devices/board"


async def test_exactly_the_acknowledged_updates_are_there(api: httpx.AsyncClient) -> None:
    """PUT with the version that was read: those that lost the race are 409 and left nothing behind."""
    made = (await api.post(f"{NS}/devices", json=device("board"))).json()

    async def write(number: int) -> bool:
        labels = made["metadata"].get("labels", {})
        body = {**made, "metadata": {**made["metadata"], "labels": {**labels, f"writer-{number}": "here"}}}
        answer = await api.put(BOARD, json=body)
        assert answer.status_code in (200, 409), answer.text
        return answer.status_code == 200

    outcomes = await asyncio.gather(*(write(n) for n in range(WRITERS)))
    labels = (await api.get(BOARD)).json()["metadata"]["labels"]
    assert sum(outcomes) == 1
    assert labels == {f"writer-{outcomes.index(True)}": "here"}


async def test_no_acknowledged_patch_is_lost(api: httpx.AsyncClient) -> None:
    """A third of them test a counter that the others move: each answer says whether the change happened."""
    await api.post(f"{NS}/devices", json=device("board", {"turn": "x"}))

    async def write(number: int) -> tuple[str, bool]:
        name = f"writer-{number}"
        operations = [{"op": "add", "path": f"/metadata/labels/{name}", "value": "here"}]
        if number % 3 == 0:
            operations = [{"op": "test", "path": "/metadata/labels/turn", "value": "x"}, *operations]
            operations.append({"op": "replace", "path": "/metadata/labels/turn", "value": "taken"})
        answer = await api.patch(BOARD, json=operations, headers={"Content-Type": "application/json-patch+json"})
        assert answer.status_code in (200, 422), answer.text
        return name, answer.status_code == 200

    outcomes = dict(await asyncio.gather(*(write(n) for n in range(WRITERS))))
    labels = (await api.get(BOARD)).json()["metadata"]["labels"]
    assert labels.pop("turn") == "taken"
    assert set(labels) == {name for name, acknowledged in outcomes.items() if acknowledged}
    assert sum(not acknowledged for acknowledged in outcomes.values()) == (WRITERS + 2) // 3 - 1
