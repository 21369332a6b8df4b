"""Namespaces over HTTP: kubectl's `create ns`, `label ns`, `delete ns`."""

import httpx
import pytest

from litefleet_controller.identity.roles import Role
from litefleet_controller.resources.namespace import manifest
from tests.controller.api.conftest import World, device

ALL = "/api/v1/namespaces"
LINE = f"{ALL}/line-a"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
async def line(api: httpx.AsyncClient) -> httpx.AsyncClient:
    assert (await api.post(ALL, json=manifest("line-a"))).status_code == 201
    return api


async def test_it_is_listed_and_labelled(line: httpx.AsyncClient) -> None:
    answer = await line.patch(LINE, json={"metadata": {"labels": {"site": "a"}}}, headers=MERGE)
    assert answer.json()["metadata"]["labels"]["site"] == "a"
    found = (await line.get(ALL, params={"labelSelector": "site=a"})).json()
    assert ([n["metadata"]["name"] for n in found["items"]], found["kind"]) == (["line-a"], "NamespaceList")


async def test_deleted_it_terminates_and_is_gone(line: httpx.AsyncClient) -> None:
    await line.post("/apis/litefleet.dev/v1alpha1/namespaces/line-a/devices", json=device("d"))
    answer = await line.delete(LINE)
    assert (answer.status_code, answer.json()["status"]["phase"]) == (200, "Terminating")
    assert (await line.get(LINE)).status_code == 404
    assert (await line.get("/apis/litefleet.dev/v1alpha1/devices")).json()["items"] == []


async def test_default_can_not_be_deleted(api: httpx.AsyncClient) -> None:
    answer = await api.delete(f"{ALL}/default")
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        'namespaces "default" is forbidden: it may not be deleted',
    )


@pytest.mark.parametrize(("role", "namespace"), [(Role.OPERATOR, None), (Role.VIEWER, None), (Role.ADMIN, "line-a")])
async def test_only_admins_of_the_whole_fleet_delete_one(
    world: World, line: httpx.AsyncClient, role: Role, namespace: str | None
) -> None:
    async with world.client(await world.token(role, namespace)) as client:
        assert (await client.delete(LINE)).status_code == 403
    assert (await line.get(LINE)).json()["status"] == {"phase": "Active"}
