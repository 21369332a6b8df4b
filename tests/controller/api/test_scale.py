"""`/scale`, on a kind that declares where it keeps its replicas."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from litefleet_controller.api.app import create_api
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens
from litefleet_controller.resources.crd import kind_from_crd
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects
from tests.controller.api.conftest import Clock
from tests.gadgets import CRD

GADGETS = "/apis/example.com/v1/namespaces/default/gadgets"
SCALE = f"{GADGETS}/g/scale"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
async def api(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    clock, numbers = Clock(), itertools.count(1)
    registry = Registry((kind_from_crd(CRD),))
    objects = SqlObjects(database, registry, clock=clock, uid=lambda: f"u{next(numbers)}")
    tokens = AccessTokens(database.sessions)
    app = create_api(ApiDependencies(registry, objects, tokens.authenticate, allowed, clock))
    token = await tokens.create("ada", Role.ADMIN, None, None, clock())
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t", headers=headers) as client:
        body = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"replicas": 2}}
        assert (await client.post(GADGETS, json=body)).status_code == 201
        yield client
    await objects.aclose()


async def test_it_shows_what_is_wanted_and_what_is_there(api: httpx.AsyncClient) -> None:
    status = {"status": {"replicas": 1, "selector": "app=g"}}
    assert (await api.patch(f"{GADGETS}/g/status", json=status, headers=MERGE)).status_code == 200
    scale = (await api.get(SCALE)).json()
    assert (scale["kind"], scale["apiVersion"], scale["metadata"]["name"]) == ("Scale", "autoscaling/v1", "g")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=g"})


async def test_put_changes_the_object_and_nothing_else_of_it(api: httpx.AsyncClient) -> None:
    scale = (await api.get(SCALE)).json()
    answer = await api.put(SCALE, json={**scale, "spec": {"replicas": 5}})
    assert (answer.status_code, answer.json()["spec"]) == (200, {"replicas": 5})
    gadget = (await api.get(f"{GADGETS}/g")).json()
    assert (gadget["spec"], gadget["metadata"]["generation"]) == ({"replicas": 5}, 2)


async def test_put_of_an_older_version_is_a_conflict(api: httpx.AsyncClient) -> None:
    scale = (await api.get(SCALE)).json()
    assert (await api.put(SCALE, json={**scale, "spec": {"replicas": 5}})).status_code == 200
    assert (await api.put(SCALE, json={**scale, "spec": {"replicas": 6}})).status_code == 409


@pytest.mark.parametrize(
    ("patch", "type_"),
    [
        ({"spec": {"replicas": 7}}, "application/merge-patch+json"),
        ([{"op": "replace", "path": "/spec/replicas", "value": 7}], "application/json-patch+json"),
    ],
)
async def test_patches(api: httpx.AsyncClient, patch: Any, type_: str) -> None:
    answer = await api.patch(SCALE, json=patch, headers={"Content-Type": type_})
    assert (answer.status_code, answer.json()["spec"]["replicas"]) == (200, 7)


@pytest.mark.parametrize("replicas", [-1, 1.5, "3", True, None])
async def test_what_is_no_number_of_replicas_is_refused(api: httpx.AsyncClient, replicas: object) -> None:
    scale = (await api.get(SCALE)).json()
    answer = await api.put(SCALE, json={**scale, "spec": {"replicas": replicas}})
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, "spec.replicas")
    assert (await api.get(SCALE)).json()["spec"] == {"replicas": 2}


async def test_dry_run_changes_nothing(api: httpx.AsyncClient) -> None:
    answer = await api.patch(f"{SCALE}?dryRun=All", json={"spec": {"replicas": 9}}, headers=MERGE)
    assert answer.json()["spec"] == {"replicas": 9}
    assert (await api.get(SCALE)).json()["spec"] == {"replicas": 2}


async def test_other_verbs_bodies_and_names(api: httpx.AsyncClient) -> None:
    assert (await api.post(SCALE, json={})).status_code == 405
    assert (await api.put(SCALE, json={"kind": "Gadget", "apiVersion": "example.com/v1"})).status_code == 400
    assert (await api.patch(SCALE, content=b"x", headers={"Content-Type": "text/plain"})).status_code == 415
    assert (await api.get(f"{GADGETS}/nope/scale")).status_code == 404


async def test_who_scaled_owns_the_replicas_under_that_name(api: httpx.AsyncClient) -> None:
    await api.patch(f"{SCALE}?fieldManager=autoscaler", json={"spec": {"replicas": 9}}, headers=MERGE)
    entries = (await api.get(f"{GADGETS}/g")).json()["metadata"]["managedFields"]
    (mine,) = (entry for entry in entries if entry["manager"] == "autoscaler")
    assert (mine["subresource"], mine["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})


async def test_a_strict_json_patch_brings_in_no_unknown_field(api: httpx.AsyncClient) -> None:
    change = [{"op": "add", "path": "/spec/colour", "value": "red"}]
    headers = {"Content-Type": "application/json-patch+json"}
    refused = await api.patch(f"{GADGETS}/g?fieldValidation=Strict", json=change, headers=headers)
    assert (refused.status_code, refused.json()["details"]["causes"][0]["field"]) == (422, "spec.colour")
    warned = await api.patch(f"{GADGETS}/g", json=change, headers=headers)
    assert (warned.status_code, warned.headers["warning"]) == (
        200,
        '299 - "unknown field \\"spec.colour\\", did you mean \\"color\\"?"',
    )
    assert (await api.get(f"{GADGETS}/g")).json()["spec"] == {"replicas": 2}


async def test_discovery_and_openapi_know_it(api: httpx.AsyncClient) -> None:
    listed = {r["name"]: r for r in (await api.get("/apis/example.com/v1")).json()["resources"]}
    assert (listed["gadgets/scale"]["kind"], listed["gadgets/scale"]["group"]) == ("Scale", "autoscaling")
    document = (await api.get("/openapi/v3/apis/example.com/v1")).json()
    path = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/gadgets/{name}/scale"]
    assert path["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("v1.Scale")
