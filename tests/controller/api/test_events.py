"""Events that clients write, in both of their forms."""

from typing import Any

import httpx
import pytest

from litefleet_controller.identity.roles import Role
from tests.controller.api.conftest import World

OLD = "/api/v1/namespaces/default/events"
NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
ABOUT = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "Device", "namespace": "default", "name": "d0", "uid": "u"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


def old(name: str = "d0.1") -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": ABOUT, "reason": "Seen",
        "message": "it is there", "type": "Normal", "count": 1,
    }  # fmt: skip


def new(name: str = "d0.2") -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name}, "regarding": ABOUT, "reason": "Seen",
        "note": "it is there", "type": "Normal", "eventTime": "2026-01-02T03:04:05.000000Z", "action": "Look",
        "reportingController": "litefleet.dev/test", "reportingInstance": "t-0",
    }  # fmt: skip


async def test_one_written_in_the_old_form_is_read_in_the_new(api: httpx.AsyncClient) -> None:
    assert (await api.post(OLD, json=old())).status_code == 201
    event = (await api.get(f"{NEW}/d0.1")).json()
    assert (event["apiVersion"], event["note"], event["regarding"]["name"]) == ("events.k8s.io/v1", "it is there", "d0")


async def test_one_written_in_the_new_form_is_read_in_the_old(api: httpx.AsyncClient) -> None:
    assert (await api.post(NEW, json=new())).status_code == 201
    event = (await api.get(f"{OLD}/d0.2")).json()
    assert (event["apiVersion"], event["message"], event["involvedObject"]["name"]) == ("v1", "it is there", "d0")


async def test_counting_up_by_a_strategic_patch_in_both_forms(api: httpx.AsyncClient) -> None:
    await api.post(OLD, json=old())
    assert (await api.patch(f"{OLD}/d0.1", json={"count": 2}, headers=STRATEGIC)).json()["count"] == 2
    answer = await api.patch(f"{NEW}/d0.1", json={"deprecatedCount": 3, "note": "again"}, headers=STRATEGIC)
    assert (answer.json()["deprecatedCount"], answer.json()["note"]) == (3, "again")
    pointer = [{"op": "replace", "path": "/note", "value": "once more"}]
    answer = await api.patch(f"{NEW}/d0.1", json=pointer, headers={"Content-Type": "application/json-patch+json"})
    assert (await api.get(f"{OLD}/d0.1")).json()["message"] == "once more"


async def test_replaced_and_deleted_through_the_new_form(api: httpx.AsyncClient) -> None:
    made = (await api.post(NEW, json=new())).json()
    answer = await api.put(f"{NEW}/d0.2", json={**made, "note": "changed"})
    assert (answer.status_code, answer.json()["note"]) == (200, "changed")
    assert (await api.delete(f"{NEW}/d0.2")).status_code == 200
    assert (await api.get(f"{OLD}/d0.2")).status_code == 404


async def test_applied_ones_are_owned_under_the_names_of_their_form(api: httpx.AsyncClient) -> None:
    await api.post(NEW, json=new())
    (entry,) = (await api.get(f"{OLD}/d0.2")).json()["metadata"]["managedFields"]
    assert entry["apiVersion"] == "events.k8s.io/v1"
    assert {"f:regarding", "f:note", "f:reportingController"} <= set(entry["fieldsV1"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"type": "Panic"}, "type"),
        ({"regarding": {"name": "x"}}, "involvedObject.namespace"),
    ],
)
async def test_what_an_event_needs(api: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    answer = await api.post(NEW, json={**new(), **change})
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, field)


async def test_lists_leave_out_what_they_say_already(api: httpx.AsyncClient) -> None:
    await api.post(OLD, json=old())
    listed = (await api.get(OLD)).json()
    assert (listed["kind"], "kind" in listed["items"][0], "continue" in listed["metadata"]) == (
        "EventList",
        False,
        False,
    )


async def test_operators_read_and_do_not_write_them(world: World, api: httpx.AsyncClient) -> None:
    await api.post(OLD, json=old())
    async with world.client(await world.token(Role.OPERATOR)) as client:
        assert (await client.get(f"{OLD}/d0.1")).status_code == 200
        assert (await client.post(OLD, json=old("d0.9"))).status_code == 403
