"""PATCH with application/apply-patch+yaml, and whom other writes belong to."""

import json
from typing import Any

import httpx
import pytest

from tests.controller.api.conftest import NS

R1 = f"{NS}/modelrollouts/r1"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
BODY: dict[str, Any] = {
    "apiVersion": "litefleet.dev/v1alpha1",
    "kind": "ModelRollout",
    "metadata": {"name": "r1", "labels": {"team": "vision"}},
    "spec": {"modelRef": {"name": "digits", "version": 3}, "paused": True},
}


async def apply(api: httpx.AsyncClient, body: Any, query: str = "fieldManager=alice", path: str = R1) -> httpx.Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return await api.patch(f"{path}?{query}", content=content, headers=APPLY)


async def test_apply_creates_with_201_and_changes_with_200(api: httpx.AsyncClient) -> None:
    first = await apply(api, BODY)
    assert first.status_code == 201
    again = await apply(api, {**BODY, "spec": {"modelRef": {"name": "digits"}}})
    assert again.status_code == 200
    assert again.json()["spec"]["modelRef"]["version"] == "latest"


async def test_yaml_is_read(api: httpx.AsyncClient) -> None:
    text = "apiVersion: litefleet.dev/v1alpha1\nkind: ModelRollout\nspec:\n  modelRef: {name: digits}\n"
    assert (await apply(api, text)).json()["metadata"]["name"] == "r1"


async def test_a_conflict_names_manager_and_field_in_a_cause_each(api: httpx.AsyncClient) -> None:
    await apply(api, BODY)
    answer = await apply(
        api, {**BODY, "spec": {"modelRef": {"name": "digits", "version": 4}, "paused": False}}, "fieldManager=bob"
    )
    assert answer.status_code == 409
    status = answer.json()
    assert status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "alice":\n- .spec.paused\n- .spec.modelRef.version'
    )
    assert status["details"] == {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".spec.paused"},
            {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".spec.modelRef.version"},
        ]
    }


async def test_force_takes_over(api: httpx.AsyncClient) -> None:
    await apply(api, BODY)
    spec = {"modelRef": {"name": "digits", "version": 4}}
    answer = await apply(api, {**BODY, "spec": spec}, "fieldManager=bob&force=true")
    assert answer.json()["spec"]["modelRef"]["version"] == 4


@pytest.mark.parametrize(
    ("query", "body", "code", "said"),
    [
        ("", BODY, 422, "fieldManager: Required value: is required for apply patch"),
        (f"fieldManager={'m' * 129}", BODY, 422, "fieldManager: Too long: may not be more than 128 bytes"),
        ("fieldManager=a%00b", BODY, 422, "should only contain printable characters"),
        ("fieldManager=a", {"kind": "ModelRollout"}, 400, "invalid object type: /, Kind=ModelRollout"),
        ("fieldManager=a", {**BODY, "kind": "Model"}, 400, "invalid object type: litefleet.dev/v1alpha1, Kind=Model"),
        ("fieldManager=a", {**BODY, "metadata": {"name": "zz"}}, 400, "(zz) does not match the name on the URL (r1)"),
        ("fieldManager=a", {**BODY, "metadata": {"managedFields": [{}]}}, 400, "metadata.managedFields must be nil"),
        ("fieldManager=a", {**BODY, "metadata": "x"}, 400, "metadata must be an object"),
        ("fieldManager=a", "{oops", 400, "error decoding YAML"),
        ("fieldManager=a", "[1]", 400, "the body must be an object"),
        ("fieldManager=a", "[" * 100_000, 400, "nested"),
        ("fieldManager=a", {**BODY, "metadata": {"name": "r1", "bogus": 1}}, 422, "metadata.bogus: field not declared"),
        ("fieldManager=a", {**BODY, "bogus": 1}, 422, "bogus: field not declared in schema"),
        ("fieldManager=a&fieldValidation=Ignore", {**BODY, "spec": {"x": 1}}, 422, "spec.x: field not declared"),
        ("fieldManager=a", {**BODY, "spec": {"modelRef": "digits"}}, 422, "spec.modelRef"),
        ("fieldManager=a", {**BODY, "spec": None}, 422, "spec"),
    ],
)
async def test_what_cannot_be_applied_is_refused_with_the_reason(
    api: httpx.AsyncClient, query: str, body: Any, code: int, said: str
) -> None:
    answer = await apply(api, body, query)
    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert said in answer.json()["message"]
    assert (await api.get(R1)).status_code == 404


async def test_force_belongs_to_apply_alone(api: httpx.AsyncClient) -> None:
    await apply(api, BODY)
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = await api.patch(f"{R1}?force=true", json={}, headers=merge)
    assert answer.status_code == 422
    assert "may not be specified for non-apply patch" in answer.json()["message"]


async def test_a_dry_run_answers_and_stores_nothing(api: httpx.AsyncClient) -> None:
    assert (await apply(api, BODY, "fieldManager=a&dryRun=All")).status_code == 201
    assert (await api.get(R1)).status_code == 404


async def test_a_status_is_applied_through_its_subresource(api: httpx.AsyncClient) -> None:
    await apply(api, BODY)
    status = {**BODY, "spec": {"modelRef": {"name": "other"}}, "status": {"phase": "Paused"}}
    answer = await apply(api, status, "fieldManager=controller", f"{R1}/status")
    assert answer.json()["status"] == {"phase": "Paused"}
    assert answer.json()["spec"]["modelRef"]["name"] == "digits"
    main = await apply(api, status, "fieldManager=alice&force=true")
    assert "f:status" not in str([e for e in main.json()["metadata"]["managedFields"] if e["manager"] == "alice"])


@pytest.mark.parametrize(
    ("agent", "query", "manager"),
    [
        ("kubectl/v1.37 (linux)", "", "kubectl"),
        ("curl", "", "curl"),
        ("", "", "unknown"),
        ("é" * 100, "", "é" * 64),
        ("kubectl/v1.37", "?fieldManager=ci", "ci"),
    ],
)
async def test_a_write_belongs_to_its_field_manager_or_its_program(
    api: httpx.AsyncClient, agent: str, query: str, manager: str
) -> None:
    headers = [(b"user-agent", agent.encode("latin-1"))]
    answer = await api.post(f"{NS}/modelrollouts{query}", json=BODY, headers=headers)
    (entry,) = answer.json()["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == (manager, "Update")


async def test_openapi_says_that_patch_applies(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi/v3/apis/litefleet.dev/v1alpha1")).json()
    path = "/apis/litefleet.dev/v1alpha1/namespaces/{namespace}/modelrollouts/{name}"
    operation = document["paths"][path]["patch"]
    assert "application/apply-patch+yaml" in operation["requestBody"]["content"]
    assert {"fieldManager", "force", "dryRun", "fieldValidation"} <= {p["name"] for p in operation["parameters"]}
    meta = document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
    assert "managedFields" in meta["properties"]
