import json
from typing import Any

import httpx
import pytest
import yaml

from tests.controller.api.conftest import GROUP, NS, device, rollout

ROLLOUTS = f"{NS}/modelrollouts"
R1 = f"{ROLLOUTS}/r1"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json-patch+json"}


async def make(api: httpx.AsyncClient, **spec: Any) -> dict[str, Any]:
    answer = await api.post(ROLLOUTS, json=rollout(**spec))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def warnings(answer: httpx.Response) -> list[str]:
    return answer.headers.get_list("warning")


async def test_create_answers_with_the_stored_object(api: httpx.AsyncClient) -> None:
    body = await make(api)
    assert body["metadata"]["namespace"] == "default"
    assert body["metadata"]["generation"] == 1
    assert body["spec"]["onFailure"] == "Rollback"
    assert (await api.get(R1)).json() == body


async def test_create_takes_yaml(api: httpx.AsyncClient) -> None:
    answer = await api.post(ROLLOUTS, content=yaml.safe_dump(rollout()), headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201


async def test_create_without_a_content_type_is_json(api: httpx.AsyncClient) -> None:
    assert (await api.post(ROLLOUTS, content=json.dumps(rollout()))).status_code == 201


async def test_create_of_a_taken_name_is_a_conflict(api: httpx.AsyncClient) -> None:
    await make(api)
    answer = await api.post(ROLLOUTS, json=rollout())
    assert answer.status_code == 409
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'modelrollouts.litefleet.dev "r1" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "r1", "group": "litefleet.dev", "kind": "modelrollouts"},
        "code": 409,
    }


async def test_create_in_a_missing_namespace_is_not_found(api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{GROUP}/namespaces/nowhere/modelrollouts", json=rollout())
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "nowhere" not found')


async def test_create_names_every_invalid_field(api: httpx.AsyncClient) -> None:
    answer = await api.post(ROLLOUTS, json=rollout(onFailure="Explode", probationSeconds=-1))
    status = answer.json()
    assert (answer.status_code, status["reason"], status["details"]["kind"]) == (422, "Invalid", "ModelRollout")
    causes = {c["field"]: (c["reason"], c["code"]) for c in status["details"]["causes"]}
    assert causes == {
        "spec.onFailure": ("FieldValueNotSupported", "NotSupported"),
        "spec.probationSeconds": ("FieldValueInvalid", "OutOfRange"),
    }
    assert status["message"].startswith('ModelRollout.litefleet.dev "r1" is invalid: [spec.')


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"kind": "Model"}, 422, "must be ModelRollout"),
        ({"apiVersion": "litefleet.dev/v9"}, 400, "does not match the expected API version (litefleet.dev/v1alpha1)"),
        ({"apiVersion": None}, 400, "apiVersion is missing; write apiVersion: litefleet.dev/v1alpha1"),
        ({"metadata": {"name": "r1", "namespace": "elsewhere"}}, 400, "does not match the namespace sent"),
        (
            {"metadata": {"name": "r1", "resourceVersion": "5"}},
            422,
            "metadata.resourceVersion: must not be set on objects to be created",
        ),
        (
            {"metadata": {"name": "r1", "labels": ["a"]}},
            400,
            "cannot unmarshal array into Go struct field ObjectMeta.labels",
        ),
        (
            {"metadata": {"name": "r1", "labels": {"a": 1}}},
            400,
            "cannot unmarshal number into Go struct field ObjectMeta.labels",
        ),
        ({"metadata": {"name": 7}}, 400, "cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        ({"metadata": "r1"}, 400, "metadata must be an object"),
        ({"metadata": {}}, 422, "name or generateName is required"),
        ({"metadata": {"name": "../x"}}, 422, "metadata.name"),
        ({"metadata": {"name": "x" * 254}}, 422, "metadata.name"),
        ({"metadata": {"name": "digіts"}}, 422, "metadata.name"),  # noqa: RUF001 - a Cyrillic look-alike, on purpose
    ],
)
async def test_create_refuses_a_body_that_does_not_fit_the_path(
    api: httpx.AsyncClient, change: dict[str, Any], code: int, message: str
) -> None:
    answer = await api.post(ROLLOUTS, json={**rollout(), **change})
    assert answer.status_code == code, answer.text
    assert message in answer.json()["message"]
    assert (await api.get(ROLLOUTS)).json()["items"] == []


@pytest.mark.parametrize(
    ("content", "content_type", "code", "message"),
    [
        (b"", "application/json", 400, "unexpected end of JSON input"),
        (b"[" + b"1," * 60_000 + b"1]", "application/json", 400, "more than 50000 values"),
        (b"{not json", "application/json", 400, "json parse error"),
        (b"[]", "application/json", 400, "must be an object, not a list"),
        (b"7", "application/json", 400, "must be an object, not a number"),
        (b"\xff\xfe{", "application/json", 400, ""),
        (b'{"a":NaN}', "application/json", 400, "a: the number is out of range"),
        (b'{"a":1e999}', "application/json", 400, "out of range"),
        (b'{"a":"\\ud800"}', "application/json", 400, "surrogate"),
        (b"[" * 10_000, "application/json", 400, "levels deep"),
        (b"[" * 100 + b"]" * 100, "application/json", 400, "levels deep"),
        (b'{"a":' + b"9" * 5000 + b"}", "application/json", 400, "json parse error"),
        (b"", "application/yaml", 400, "no document"),
        (b"a: &a [1]\nb: !!python/object:os.system {}", "application/yaml", 400, ""),
        (b"- 1", "application/yaml", 400, ""),
        (b"a: 1\n---\nb: 1\n", "application/yaml", 400, "one document"),
        (b"{}", "text/plain", 415, "accepted media types include: application/json, application/yaml"),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 415, "application/json"),
    ],
)
async def test_create_refuses_a_body_that_is_no_object(
    api: httpx.AsyncClient, content: bytes, content_type: str, code: int, message: str
) -> None:
    answer = await api.post(ROLLOUTS, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == code, answer.text
    assert message in answer.json()["message"]


async def test_yaml_refusals_carry_their_stable_code(api: httpx.AsyncClient) -> None:
    content = b"kind: ModelRollout\nkind: Model\n"
    answer = await api.post(ROLLOUTS, content=content, headers={"Content-Type": "application/yaml"})
    assert answer.json()["details"]["causes"][0]["code"] == "DuplicateKey"


async def test_a_body_above_the_limit_is_refused(api: httpx.AsyncClient) -> None:
    body = rollout()
    body["metadata"]["annotations"] = {"a": "x" * 11_000_000}
    answer = await api.post(ROLLOUTS, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")
    assert answer.json()["message"] == "Request entity too large: limit is 3145728"


async def test_a_body_above_the_limit_without_a_declared_length_is_refused(api: httpx.AsyncClient) -> None:
    async def endless():
        for _ in range(8):
            yield b" " * 1_000_000

    assert (await api.post(ROLLOUTS, content=endless())).status_code == 413


async def test_unknown_fields_are_dropped_with_a_warning_each(api: httpx.AsyncClient) -> None:
    body = rollout(stratgy={}, modelRef={"name": "digits", "flavour": 1})
    answer = await api.post(ROLLOUTS, json={**body, "top": 1})
    assert answer.status_code == 201
    assert warnings(answer) == [
        '299 - "unknown field \\"spec.modelRef.flavour\\""',
        '299 - "unknown field \\"spec.stratgy\\", did you mean \\"strategy\\"?"',
        '299 - "unknown field \\"top\\""',
    ]
    assert "stratgy" not in answer.json()["spec"]


async def test_no_more_warnings_are_sent_than_headers_carry(api: httpx.AsyncClient) -> None:
    answer = await api.post(ROLLOUTS, json=rollout(**{f"x{n}": 1 for n in range(500)}))
    assert (answer.status_code, len(warnings(answer))) == (201, 32)


async def test_unknown_fields_are_refused_when_strict(api: httpx.AsyncClient) -> None:
    body = rollout(stratgy={})
    body["metadata"]["colour"] = "red"
    answer = await api.post(f"{ROLLOUTS}?fieldValidation=Strict", json=body)
    assert answer.status_code == 400
    status = answer.json()
    assert 'strict decoding error: unknown field "metadata.colour", unknown field "spec.stratgy"' in status["message"]
    assert 'did you mean "strategy"?' in status["message"]
    assert [c["code"] for c in status["details"]["causes"]] == ["UnknownField", "UnknownField"]


async def test_unknown_fields_are_dropped_in_silence_when_ignored(api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{ROLLOUTS}?fieldValidation=Ignore", json=rollout(stratgy={}))
    assert (answer.status_code, warnings(answer)) == (201, [])


async def test_a_key_given_twice_is_refused_when_strict_else_the_last_counts(api: httpx.AsyncClient) -> None:
    text = json.dumps(rollout(paused=True)).replace('"paused": true', '"paused": true, "paused": false')
    assert text.count("paused") == 2
    strict = await api.post(f"{ROLLOUTS}?fieldValidation=Strict", content=text)
    assert (strict.status_code, 'duplicate field "spec.paused"' in strict.text.replace('\\"', '"')) == (400, True)
    lax = await api.post(ROLLOUTS, content=text)
    assert lax.json()["spec"]["paused"] is False
    assert warnings(lax) == ['299 - "duplicate field \\"spec.paused\\""']


async def test_bad_write_options_are_named(api: httpx.AsyncClient) -> None:
    for query, field in (("fieldValidation=Maybe", "fieldValidation"), ("dryRun=Some", "dryRun")):
        answer = await api.post(f"{ROLLOUTS}?{query}", json=rollout())
        assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, field)


async def test_dry_run_of_a_create_stores_nothing(api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{ROLLOUTS}?dryRun=All", json=rollout())
    assert answer.status_code == 201
    assert answer.json()["metadata"]["uid"]
    assert "resourceVersion" not in answer.json()["metadata"]
    assert (await api.get(R1)).status_code == 404


async def test_put_replaces_at_the_version_it_names(api: httpx.AsyncClient) -> None:
    body = await make(api)
    body["spec"]["paused"] = True
    answer = await api.put(R1, json=body)
    assert (answer.status_code, answer.json()["metadata"]["generation"]) == (200, 2)
    stale = await api.put(R1, json=body)
    assert (stale.status_code, stale.json()["reason"]) == (409, "Conflict")
    assert "please apply your changes to the latest version" in stale.json()["message"]


async def test_put_without_a_version_is_invalid(api: httpx.AsyncClient) -> None:
    await make(api)
    answer = await api.put(R1, json=rollout())
    assert answer.status_code == 422
    assert answer.json()["details"]["causes"][0]["field"] == "metadata.resourceVersion"
    assert answer.json()["details"]["kind"] == "modelrollouts"


async def test_put_never_creates(api: httpx.AsyncClient) -> None:
    assert (await api.put(R1, json=rollout())).status_code == 404


async def test_put_of_another_name_is_refused(api: httpx.AsyncClient) -> None:
    body = await make(api)
    body["metadata"]["name"] = "r2"
    answer = await api.put(R1, json=body)
    assert answer.json()["message"] == "the name of the object (r2) does not match the name on the URL (r1)"


async def test_merge_patch_changes_and_deletes(api: httpx.AsyncClient) -> None:
    await make(api, paused=True)
    patch = {"metadata": {"labels": {"a": "1"}}, "spec": {"paused": None}}
    answer = await api.patch(R1, json=patch, headers=MERGE)
    assert answer.json()["spec"]["paused"] is False
    assert answer.json()["metadata"]["labels"] == {"a": "1"}


async def test_merge_patch_that_changes_nothing_keeps_the_version(api: httpx.AsyncClient) -> None:
    body = await make(api)
    answer = await api.patch(R1, json={"spec": {"paused": False}}, headers=MERGE)
    assert answer.json()["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]


async def test_merge_patch_with_unknown_fields(api: httpx.AsyncClient) -> None:
    await make(api)
    lax = await api.patch(R1, json={"spec": {"bogus": 1}}, headers=MERGE)
    assert (lax.status_code, warnings(lax)) == (200, ['299 - "unknown field \\"spec.bogus\\""'])
    strict = await api.patch(f"{R1}?fieldValidation=Strict", json={"spec": {"bogus": 1}}, headers=MERGE)
    assert strict.status_code == 422
    removed = await api.patch(f"{R1}?fieldValidation=Strict", json={"spec": {"bogus": None}}, headers=MERGE)
    assert (removed.status_code, warnings(removed)) == (200, [])


async def test_patch_at_a_stale_version_is_a_conflict(api: httpx.AsyncClient) -> None:
    await make(api)
    answer = await api.patch(R1, json={"metadata": {"resourceVersion": "1"}}, headers=MERGE)
    assert answer.status_code == 409


async def test_json_patch(api: httpx.AsyncClient) -> None:
    await make(api)
    operations = [
        {"op": "test", "path": "/spec/modelRef/name", "value": "digits"},
        {"op": "replace", "path": "/spec/paused", "value": True},
    ]
    assert (await api.patch(R1, json=operations, headers=JSON)).json()["spec"]["paused"] is True


@pytest.mark.parametrize(
    ("patch", "headers", "code"),
    [
        ([], MERGE, 400),
        ({"op": "replace"}, JSON, 400),
        ([7], JSON, 400),
        ([{"op": "frobnicate", "path": "/spec"}], JSON, 422),
        ([{"op": "test", "path": "/spec/modelRef/name", "value": "other"}], JSON, 422),
        ([{"op": "remove", "path": "/spec/nothing"}], JSON, 422),
        ([{"op": "replace", "path": "", "value": 7}], JSON, 422),
        ([{"op": "replace", "path": "/metadata", "value": 7}], JSON, 422),
        ({"kind": "Model"}, MERGE, 422),
        ({"metadata": {"name": "other"}}, MERGE, 400),
        ({"spec": {"onFailure": "Explode"}}, MERGE, 422),
        ({"spec": None}, MERGE, 422),
        ({}, {"Content-Type": "application/json"}, 415),
        ({}, {"Content-Type": "application/strategic-merge-patch+json"}, 415),
        ({}, {"Content-Type": "application/apply-patch+cbor"}, 415),
    ],
)
async def test_patches_that_do_not_fit(api: httpx.AsyncClient, patch: Any, headers: dict[str, str], code: int) -> None:
    before = await make(api)
    answer = await api.patch(R1, json=patch, headers=headers)
    assert answer.status_code == code, answer.text
    assert answer.json()["kind"] == "Status"
    assert (await api.get(R1)).json() == before


async def test_unserved_patch_types_are_told_which_are_served(api: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    answer = await api.patch(f"{R1}?fieldManager=me", content=b"{}", headers=headers)
    served = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    assert answer.json()["message"].endswith(f"include: {served}")


async def test_status_changes_through_its_subresource_alone(api: httpx.AsyncClient) -> None:
    body = await make(api)
    main = await api.patch(R1, json={"status": {"phase": "Healthy"}}, headers=MERGE)
    assert "status" not in main.json()
    patch = {"spec": {"paused": True}, "status": {"phase": "Healthy"}}
    status = await api.patch(f"{R1}/status", json=patch, headers=MERGE)
    assert status.json()["status"] == {"phase": "Healthy"}
    assert status.json()["spec"]["paused"] is False
    assert (await api.get(f"{R1}/status")).json() == status.json()
    assert status.json()["metadata"]["generation"] == body["metadata"]["generation"]


async def test_an_invalid_status_is_refused(api: httpx.AsyncClient) -> None:
    await make(api)
    answer = await api.patch(f"{R1}/status", json={"status": {"phase": "Excellent"}}, headers=MERGE)
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, "status.phase")


async def test_delete_answers_with_a_success_status(api: httpx.AsyncClient) -> None:
    uid = (await make(api))["metadata"]["uid"]
    answer = await api.delete(R1)
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "r1", "group": "litefleet.dev", "kind": "modelrollouts", "uid": uid},
    }
    assert (await api.delete(R1)).status_code == 404


async def test_delete_with_finalizers_answers_with_the_object(api: httpx.AsyncClient) -> None:
    body = rollout()
    body["metadata"]["finalizers"] = ["litefleet.dev/hold"]
    await api.post(ROLLOUTS, json=body)
    answer = await api.delete(R1)
    assert answer.json()["metadata"]["deletionTimestamp"] == "2026-03-01T12:00:00Z"
    again = await api.post(ROLLOUTS, json=rollout())
    assert again.json()["message"].startswith("object is being deleted: ")
    await api.patch(R1, json={"metadata": {"finalizers": []}}, headers=MERGE)
    assert (await api.get(R1)).status_code == 404


async def test_delete_checks_its_preconditions(api: httpx.AsyncClient) -> None:
    body = await make(api)
    for condition in ({"uid": "another"}, {"resourceVersion": "1"}):
        answer = await api.request("DELETE", R1, json={"preconditions": condition})
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    fitting = {"uid": body["metadata"]["uid"], "resourceVersion": body["metadata"]["resourceVersion"]}
    assert (await api.request("DELETE", R1, json={"preconditions": fitting})).status_code == 200


async def owned(api: httpx.AsyncClient) -> str:
    """r1 with a dependent that blocks it; the dependent's path."""
    owner = (await make(api))["metadata"]
    reference = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "ModelRollout", "name": "r1", "uid": owner["uid"]}
    child = rollout("child")
    child["metadata"]["ownerReferences"] = [{**reference, "blockOwnerDeletion": True}]
    child["metadata"]["finalizers"] = ["litefleet.dev/hold"]
    assert (await api.post(f"{NS}/modelrollouts", json=child)).status_code == 201
    return f"{NS}/modelrollouts/child"


async def test_delete_in_the_foreground_waits_for_dependents(api: httpx.AsyncClient) -> None:
    child = await owned(api)
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    answer = (await api.request("DELETE", R1, json=body)).json()
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert answer["metadata"]["generation"] == 2
    await api.patch(
        child, json={"metadata": {"finalizers": []}}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert [(await api.get(path)).status_code for path in (child, R1)] == [404, 404]


@pytest.mark.parametrize("query", ["propagationPolicy=Orphan", "orphanDependents=true"])
async def test_delete_that_orphans_leaves_dependents(api: httpx.AsyncClient, query: str) -> None:
    child = await owned(api)
    assert (await api.delete(f"{R1}?{query}")).json()["metadata"]["finalizers"] == ["orphan"]
    assert (await api.get(R1)).status_code == 404
    assert "ownerReferences" not in (await api.get(child)).json()["metadata"]


async def test_delete_of_a_collection_answers_with_what_it_was(api: httpx.AsyncClient) -> None:
    before = await make(api)
    answer = (await api.delete(f"{NS}/modelrollouts?propagationPolicy=Foreground&gracePeriodSeconds=5")).json()
    assert (answer["kind"], answer["items"]) == ("ModelRolloutList", [before])
    assert (await api.get(R1)).status_code == 404


async def test_a_failed_precondition_names_the_kind_and_both_values(api: httpx.AsyncClient) -> None:
    await make(api)
    answer = (await api.request("DELETE", R1, json={"preconditions": {"uid": "x"}})).json()
    assert answer["details"] == {"name": "r1", "group": "litefleet.dev", "kind": "ModelRollout"}
    assert "the UID in the precondition (x) does not match the UID in record (00000000-" in answer["message"]


async def test_delete_with_dry_run_deletes_nothing(api: httpx.AsyncClient) -> None:
    await make(api)
    assert (await api.delete(f"{R1}?dryRun=All")).json()["status"] == "Success"
    assert (await api.request("DELETE", R1, json={"dryRun": ["All"]})).json()["status"] == "Success"
    assert (await api.get(R1)).status_code == 200


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("?propagationPolicy=Sideways", {}, 422),
        ("", {"propagationPolicy": "Sideways"}, 422),
        ("", {"propagationPolicy": ["Orphan"]}, 422),
        ("", {"orphanDependents": True, "propagationPolicy": "Foreground"}, 422),
        ("", {"orphanDependents": "yes"}, 400),
        ("?gracePeriodSeconds=soon", {}, 400),
        ("", {"gracePeriodSeconds": "30"}, 400),
        ("", {"kind": "Nonsense"}, 400),
        ("", {"preconditions": 5}, 400),
        ("", {"preconditions": {"resourceVersion": "x"}}, 400),
        ("", {"dryRun": {"a": 1}}, 400),
        ("", {"dryRun": ["Some"]}, 422),
        ("", [1], 400),
    ],
)
async def test_delete_options_that_are_not_served(api: httpx.AsyncClient, query: str, body: Any, code: int) -> None:
    await make(api)
    assert (await api.request("DELETE", f"{R1}{query}", json=body)).status_code == code
    assert (await api.get(R1)).status_code == 200


async def test_delete_of_a_collection_answers_with_what_it_deleted(api: httpx.AsyncClient) -> None:
    for number, label in enumerate("aab"):
        await api.post(f"{NS}/devices", json=device(f"d{number}", {"site": label}))
    answer = await api.delete(f"{NS}/devices?labelSelector=site=a")
    assert (answer.json()["kind"], [i["metadata"]["name"] for i in answer.json()["items"]]) == (
        "DeviceList",
        ["d0", "d1"],
    )
    assert [i["metadata"]["name"] for i in (await api.get(f"{NS}/devices")).json()["items"]] == ["d2"]


async def test_what_a_resource_cannot_do_is_405(api: httpx.AsyncClient) -> None:
    await make(api)
    for method, path in (
        ("POST", f"{R1}/status"),
        ("DELETE", f"{R1}/status"),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/api/v1/namespaces/default/status"),
        ("OPTIONS", ROLLOUTS),
        ("POST", "/version"),
    ):
        answer = await api.request(method, path, json=rollout())
        assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed"), (method, path)


async def test_writes_across_namespaces_are_not_found(api: httpx.AsyncClient) -> None:
    for method in ("POST", "DELETE"):
        assert (await api.request(method, f"{GROUP}/modelrollouts", json=rollout())).status_code == 404


async def test_writes_to_a_whole_collection_ask_for_a_name(api: httpx.AsyncClient) -> None:
    for method in ("PUT", "PATCH"):
        answer = await api.request(method, ROLLOUTS, json=rollout(), headers=MERGE)
        assert (answer.status_code, answer.json()["message"]) == (400, "name must be provided")


async def test_an_unknown_subresource_is_not_found(api: httpx.AsyncClient) -> None:
    await make(api)
    assert (await api.get(f"{R1}/scale")).json()["reason"] == "NotFound"


async def test_namespaces_are_created_listed_and_selected(api: httpx.AsyncClient) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    assert (await api.post("/api/v1/namespaces?dryRun=All", json=body)).status_code == 201
    assert (await api.get("/api/v1/namespaces/team-a")).status_code == 404
    assert (await api.post("/api/v1/namespaces", json=body)).json()["status"] == {"phase": "Active"}
    assert (await api.post("/api/v1/namespaces", json=body)).json()["reason"] == "AlreadyExists"
    names = [i["metadata"]["name"] for i in (await api.get("/api/v1/namespaces?limit=1")).json()["items"]]
    assert names == ["default"]
    key = "kubernetes.io/metadata.name"
    for selector, found in (
        (f"{key} in (team-a)", ["team-a"]),
        (f"{key}!=team-a", ["default"]),
        (f"!{key}", []),
        (key, ["default", "team-a"]),
    ):
        selected = await api.get("/api/v1/namespaces", params={"labelSelector": selector})
        assert [i["metadata"]["name"] for i in selected.json()["items"]] == found
    by_field = await api.get("/api/v1/namespaces", params={"fieldSelector": "metadata.name!=default"})
    assert [i["metadata"]["name"] for i in by_field.json()["items"]] == ["team-a"]


async def test_a_namespace_with_a_bad_name_is_invalid(api: httpx.AsyncClient) -> None:
    for name in ("a.b", "", "-", "x" * 64):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        answer = await api.post("/api/v1/namespaces", json=body)
        assert (answer.status_code, answer.json()["details"]["kind"]) == (422, "Namespace")


@pytest.mark.parametrize(("validation", "code", "warnings"), [("Warn", 200, 1), ("Ignore", 200, 0), ("Strict", 422, 0)])
async def test_a_json_patch_that_brings_an_unknown_field(
    api: httpx.AsyncClient, validation: str, code: int, warnings: int
) -> None:
    await make(api)
    operations = [
        {"op": "add", "path": "/spec/stratgy", "value": {}},
        {"op": "replace", "path": "/spec/paused", "value": True},
    ]
    query, headers = f"?fieldValidation={validation}", {"Content-Type": "application/json-patch+json"}
    answer = await api.patch(f"{R1}{query}", json=operations, headers=headers)
    assert answer.status_code == code, answer.text
    given = answer.headers.get_list("Warning")
    assert len(given) == warnings
    assert all("spec.stratgy" in warning and "strategy" in warning for warning in given)
    spec = (await api.get(R1)).json()["spec"]
    assert "stratgy" not in spec
    assert spec["paused"] is (code == 200)
