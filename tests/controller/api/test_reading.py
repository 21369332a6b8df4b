from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import yaml

from litefleet_controller.store.interface import Key
from litefleet_controller.store.transaction import Retention
from tests.controller.api.conftest import GROUP, NS, World, device, rollout

DEVICES = f"{NS}/devices"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"}
PARTIAL_LIST = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"}


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["metadata"]["name"] for item in answer.json()["items"]]


@pytest.fixture
async def five(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """d0 to d4 with a few labels, in `default`; d0 again in `other`."""
    labels = [{"site": "a", "tier": "gold"}, {"site": "a"}, {"site": "b"}, {"site": "b", "tier": "tin"}, {}]
    for number, given in enumerate(labels):
        await api.post(DEVICES, json=device(f"d{number}", given, "coral" if number % 2 else "pi4"))
    await api.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    await api.post(f"{GROUP}/namespaces/other/devices", json=device("d0", {"tier": "gold"}))
    return api


async def test_an_empty_list_has_items_and_a_version(api: httpx.AsyncClient) -> None:
    body = (await api.get(DEVICES)).json()
    assert body["items"] == []
    assert (body["kind"], body["apiVersion"], body["metadata"]["continue"]) == (
        "DeviceList",
        "litefleet.dev/v1alpha1",
        "",
    )
    assert int(body["metadata"]["resourceVersion"]) >= 0


async def test_a_list_in_a_missing_namespace_is_empty(api: httpx.AsyncClient) -> None:
    assert names(await api.get(f"{GROUP}/namespaces/nowhere/devices")) == []


async def test_a_list_is_ordered_and_of_one_namespace(five: httpx.AsyncClient) -> None:
    assert names(await five.get(DEVICES)) == ["d0", "d1", "d2", "d3", "d4"]
    everywhere = await five.get(f"{GROUP}/devices")
    assert names(everywhere) == ["d0", "d1", "d2", "d3", "d4", "d0"]
    assert everywhere.json()["items"][-1]["kind"] == "Device"


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("site=a", "d0 d1"),
        ("site==a", "d0 d1"),
        ("site!=a", "d2 d3 d4"),
        ("site in (a,b)", "d0 d1 d2 d3"),
        ("site in ( a , b )", "d0 d1 d2 d3"),
        ("site notin (a)", "d2 d3 d4"),
        ("tier", "d0 d3"),
        ("!tier", "d1 d2 d4"),
        ("site=a,tier", "d0"),
        ("site=a, !tier", "d1"),
        ("site=", ""),
        ("", "d0 d1 d2 d3 d4"),
        ("site in (a,)", "d0 d1"),
    ],
)
async def test_label_selectors(five: httpx.AsyncClient, selector: str, found: str) -> None:
    assert names(await five.get(DEVICES, params={"labelSelector": selector})) == found.split()


@pytest.mark.parametrize(
    "selector", ["site in a", "a b=c", "=a", "site in (a", "a==", "!", "a,,b", "a=b=c", "-x=1", ","]
)
async def test_bad_label_selectors_are_explained(api: httpx.AsyncClient, selector: str) -> None:
    answer = await api.get(DEVICES, params={"labelSelector": selector})
    if selector == "a==":  # the empty value, as in Kubernetes
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("unable to parse requirement: ")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("metadata.name=d2", "d2"),
        ("metadata.name!=d2", "d0 d1 d3 d4"),
        ("spec.class=coral", "d1 d3"),
        ("spec.class==coral,metadata.name=d3", "d3"),
        ("metadata.namespace=other", ""),
    ],
)
async def test_field_selectors(five: httpx.AsyncClient, selector: str, found: str) -> None:
    assert names(await five.get(DEVICES, params={"fieldSelector": selector})) == found.split()


async def test_bad_field_selectors_are_explained(api: httpx.AsyncClient) -> None:
    unsupported = await api.get(DEVICES, params={"fieldSelector": "spec.site=a"})
    assert unsupported.json()["message"] == "field label not supported: spec.site"
    assert unsupported.json()["details"]["causes"][0]["message"].startswith("supported: metadata.name")
    broken = await api.get(DEVICES, params={"fieldSelector": "metadata.name"})
    assert broken.json()["message"] == "invalid selector: 'metadata.name'; can't understand 'metadata.name'"


async def test_pages_join_to_the_whole_list_at_the_first_page_s_version(five: httpx.AsyncClient) -> None:
    first = (await five.get(f"{DEVICES}?limit=2")).json()
    assert first["metadata"]["remainingItemCount"] == 3
    await five.post(DEVICES, json=device("d9"))
    await five.delete(f"{DEVICES}/d3")
    second = await five.get(DEVICES, params={"limit": 2, "continue": first["metadata"]["continue"]})
    assert names(second) == ["d2", "d3"]
    assert second.json()["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = await five.get(DEVICES, params={"limit": 2, "continue": second.json()["metadata"]["continue"]})
    assert names(last) == ["d4"]
    assert last.json()["metadata"]["continue"] == ""
    assert "remainingItemCount" not in last.json()["metadata"]


async def test_pages_across_namespaces(five: httpx.AsyncClient) -> None:
    first = (await five.get(f"{GROUP}/devices?limit=5")).json()
    last = await five.get(f"{GROUP}/devices", params={"continue": first["metadata"]["continue"]})
    assert [i["metadata"]["namespace"] for i in last.json()["items"]] == ["other"]


async def test_a_page_of_a_selection_does_not_count_the_rest(five: httpx.AsyncClient) -> None:
    metadata = (await five.get(f"{DEVICES}?limit=1&labelSelector=tier")).json()["metadata"]
    assert metadata["continue"]
    assert "remainingItemCount" not in metadata


async def test_any_version_disregards_the_limit(five: httpx.AsyncClient) -> None:
    assert len(names(await five.get(f"{DEVICES}?resourceVersion=0&limit=2"))) == 5


class TestAfterCompaction:
    @pytest.fixture
    def retention(self) -> Retention:
        return Retention(at_least=1, at_most=2, seconds=0, every=1)

    async def test_an_exact_list_is_expired(self, five: httpx.AsyncClient) -> None:
        gone = await five.get(f"{DEVICES}?resourceVersion=2&resourceVersionMatch=Exact")
        assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")

    async def test_a_list_in_pages_may_go_on_with_what_is_there_now(self, five: httpx.AsyncClient) -> None:
        token = (await five.get(f"{DEVICES}?limit=2")).json()["metadata"]["continue"]
        for name in ("d7", "d8", "d9"):
            await five.post(DEVICES, json=device(name))
        expired = await five.get(DEVICES, params={"limit": 2, "continue": token})
        assert expired.status_code == 410
        assert "inconsistent list" in expired.json()["message"]
        rest = await five.get(DEVICES, params={"continue": expired.json()["metadata"]["continue"]})
        assert names(rest) == ["d2", "d3", "d4", "d7", "d8", "d9"]


async def test_list_at_exactly_the_current_version(five: httpx.AsyncClient) -> None:
    version = (await five.get(DEVICES)).json()["metadata"]["resourceVersion"]
    query = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert len(names(await five.get(DEVICES, params=query))) == 5
    await five.post(DEVICES, json=device("d9"))
    assert len(names(await five.get(DEVICES, params=query))) == 5
    newer = await five.get(DEVICES, params={**query, "resourceVersionMatch": "NotOlderThan"})
    assert len(names(newer)) == 6


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=x", 400),
        ("limit=-1", 400),
        ("limit=99999999999999999999", 400),
        ("timeoutSeconds=x", 400),
        ("continue=abc", 400),
        ("continue=e30", 400),
        ("continue=eyJydiI6ImEiLCJzdGFydCI6ImEvYiJ9", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersion=5&continue=eyJydiI6MSwic3RhcnQiOiJhL2IifQ", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Sometimes&resourceVersion=1", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("sendInitialEvents=true", 422),
        ("watch=1&sendInitialEvents=true", 422),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422),
        ("watch=1&resourceVersion=abc", 400),
        ("includeObject=Everything", 400),
        ("resourceVersion=999999999999", 504),
        ("resourceVersion=99999999999999999999999999", 504),
    ],
)
async def test_list_options_that_cannot_be_met(api: httpx.AsyncClient, query: str, code: int) -> None:
    answer = await api.get(f"{DEVICES}?{query}")
    assert (answer.status_code, answer.json()["kind"]) == (code, "Status"), answer.text


async def test_a_read_from_the_future_may_be_repeated_later(api: httpx.AsyncClient) -> None:
    await api.post(DEVICES, json=device("d0"))
    answer = await api.get(f"{DEVICES}/d0?resourceVersion=999999999999")
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "1")
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_missing_object_is_a_status_whatever_form_was_asked_for(api: httpx.AsyncClient) -> None:
    for headers in ({}, TABLE, PARTIAL):
        answer = await api.get(f"{DEVICES}/nope", headers=headers)
        assert answer.json()["message"] == 'devices.litefleet.dev "nope" not found'
        assert answer.json()["details"] == {"name": "nope", "group": "litefleet.dev", "kind": "devices"}


async def test_a_table_of_one_object(world: World, api: httpx.AsyncClient) -> None:
    await api.post(f"{NS}/modelrollouts", json=rollout())
    world.clock.advance(150)
    body = (await api.get(f"{NS}/modelrollouts/r1", headers=TABLE)).json()
    assert [c["name"] for c in body["columnDefinitions"]] == [
        "Name",
        "Model",
        "Target",
        "Phase",
        "Step",
        "Message",
        "Age",
    ]
    assert body["rows"][0]["cells"] == ["r1", "digits", None, None, None, None, "2m30s"]
    assert body["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert body["metadata"]["resourceVersion"] == body["rows"][0]["object"]["metadata"]["resourceVersion"]


async def test_a_table_s_rows_hold_what_was_asked_for(five: httpx.AsyncClient) -> None:
    for include, kind in (("Object", "Device"), ("Metadata", "PartialObjectMetadata")):
        row = (await five.get(f"{DEVICES}/d0?includeObject={include}", headers=TABLE)).json()["rows"][0]
        assert row["object"]["kind"] == kind
    assert (await five.get(f"{DEVICES}/d0?includeObject=None", headers=TABLE)).json()["rows"][0]["object"] is None


async def test_a_table_shows_lists_as_json(api: httpx.AsyncClient) -> None:
    body = {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "DeviceClass",
        "metadata": {"name": "pi4"},
        "spec": {"variants": ["float16", "int8"]},
    }
    assert (await api.post(f"{NS}/deviceclasses", json=body)).status_code == 201
    row = (await api.get(f"{NS}/deviceclasses", headers=TABLE)).json()["rows"][0]
    assert row["cells"][:3] == ["pi4", "litert", '["float16","int8"]']


async def test_a_table_pages(five: httpx.AsyncClient) -> None:
    body = (await five.get(f"{DEVICES}?limit=1", headers=TABLE)).json()
    assert body["metadata"]["remainingItemCount"] == 4
    assert body["metadata"]["continue"]
    assert len(body["rows"]) == 1
    whole = (await five.get(DEVICES, headers=TABLE)).json()["metadata"]
    assert "continue" not in whole


async def test_metadata_alone(five: httpx.AsyncClient) -> None:
    one = (await five.get(f"{DEVICES}/d0", headers=PARTIAL)).json()
    assert one.keys() == {"kind", "apiVersion", "metadata"}
    assert one["metadata"]["labels"] == {"site": "a", "tier": "gold"}
    many = (await five.get(f"{DEVICES}?limit=1", headers=PARTIAL_LIST)).json()
    assert many["kind"] == "PartialObjectMetadataList"
    assert many["items"] == [one]


async def test_yaml(five: httpx.AsyncClient) -> None:
    for path in (f"{DEVICES}/d0", DEVICES):
        plain = await five.get(path)
        answer = await five.get(path, headers={"Accept": "application/yaml"})
        assert answer.headers["content-type"] == "application/yaml"
        assert yaml.safe_load(answer.text) == plain.json()


async def test_forms_that_are_not_served_are_406(five: httpx.AsyncClient) -> None:
    for accept in ("text/html", "application/json;as=Table;v=v9;g=meta.k8s.io"):
        answer = await five.get(f"{DEVICES}/d0", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["reason"]) == (406, "NotAcceptable")


async def test_who_reads_only_protobuf_is_refused_in_protobuf(five: httpx.AsyncClient) -> None:
    answer = await five.get(f"{DEVICES}/d0", headers={"Accept": "application/vnd.kubernetes.protobuf"})
    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/vnd.kubernetes.protobuf")
    assert answer.content.startswith(b"k8s\x00")
    assert b"only the following media types are accepted" in answer.content


async def test_the_next_form_is_taken_when_the_first_is_not_served(five: httpx.AsyncClient) -> None:
    accept = "application/vnd.kubernetes.protobuf,application/json"
    assert (await five.get(f"{DEVICES}/d0", headers={"Accept": accept})).json()["kind"] == "Device"


async def test_writes_answer_in_the_form_that_was_asked_for(api: httpx.AsyncClient) -> None:
    assert (await api.post(DEVICES, json=device("d0"), headers=TABLE)).json()["kind"] == "Table"


async def test_nothing_is_written_when_the_answer_s_form_is_not_served(api: httpx.AsyncClient) -> None:
    answer = await api.post(DEVICES, json=device("d0"), headers={"Accept": "text/html"})
    assert answer.status_code == 406
    assert names(await api.get(DEVICES)) == []


async def _record(world: World, name: str, reason: str, at: datetime) -> None:
    await world.events.record(Key("Device", "default", name), f"uid-{name}", "Warning", reason, "it broke", at, "link")


async def test_events_are_found_by_the_object_that_they_are_about(world: World, api: httpx.AsyncClient) -> None:
    for name in ("d0", "d1"):
        await _record(world, name, "Offline", world.clock())
    fields = (
        "involvedObject.name=d0,involvedObject.namespace=default,involvedObject.kind=Device,involvedObject.uid=uid-d0"
    )
    events = (await api.get("/api/v1/namespaces/default/events", params={"fieldSelector": fields})).json()
    assert (events["kind"], events["apiVersion"]) == ("EventList", "v1")
    assert [e["involvedObject"]["name"] for e in events["items"]] == ["d0"]


async def test_events_as_a_table(world: World, api: httpx.AsyncClient) -> None:
    await _record(world, "d0", "Offline", world.clock())
    world.clock.advance(90)
    await _record(world, "d0", "Offline", world.clock())
    world.clock.advance(5)
    table: dict[str, Any] = (await api.get("/api/v1/namespaces/default/events", headers=TABLE)).json()
    assert len(table["columnDefinitions"]) == len(table["rows"][0]["cells"])
    assert table["rows"][0]["cells"][:6] == ["5s (x2 over 95s)", "Warning", "Offline", "device/d0", "", "link"]


async def test_the_index_names_the_paths(api: httpx.AsyncClient) -> None:
    assert "/apis" in (await api.get("/")).json()["paths"]


async def test_head_answers_like_get(five: httpx.AsyncClient) -> None:
    assert (await five.head(f"{DEVICES}/d0")).status_code == 200
    assert (await five.head(f"{DEVICES}/nope")).status_code == 404


async def test_times_are_the_clock_s(api: httpx.AsyncClient) -> None:
    created = (await api.post(DEVICES, json=device("d0"))).json()["metadata"]["creationTimestamp"]
    assert datetime.fromisoformat(created) == datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_a_name_with_a_newline_is_not_found_like_any_other(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{NS}/devices/a%0Ab")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
