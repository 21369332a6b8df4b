"""Whatever is sent, the API answers with something below 500 and stays as it was."""

import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.controller.api.conftest import GROUP, NS, World, rollout

ANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "creationTimestamp",
        "deletionTimestamp",
        "modelRef",
        "selector",
        "strategy",
        "canary",
        "steps",
        "matchLabels",
        "paused",
        "onFailure",
        "successThreshold",
        "phase",
        "conditions",
        "observedGeneration",
        "history",
        "analysis",
        "message",
    ]
)
SHAPED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=12
)
PART = st.sampled_from(
    [
        "api",
        "apis",
        "v1",
        "litefleet.dev",
        "v1alpha1",
        "namespaces",
        "default",
        "modelrollouts",
        "devices",
        "events",
        "status",
        "watch",
        "x",
        "..",
        "%",
        "%00",
        "é",
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "openapi",
        "v3",
        "fleet",
    ]
) | st.text(max_size=6)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/vnd.kubernetes.protobuf",
        "text/plain",
        "",
    ]
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


async def check(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    answer = await client.request(method, path, **more)
    assert answer.status_code < 500, (method, path, more, answer.text)
    if answer.status_code >= 400 and answer.headers["content-type"] == "application/json" and method != "HEAD":
        assert answer.json()["kind"] == "Status"
    return answer


@ANY
@given(METHODS, st.lists(PART, max_size=8), st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
async def test_paths_and_queries(world: World, method: str, parts: list[str], query: dict[str, str]) -> None:
    query.pop("watch", None)
    async with world.client() as client:
        path = "/".join(quote(part, safe="/.%") for part in parts).replace("watch", "w").lstrip("/")
        await check(client, method, f"/{path}", params=query)


@ANY
@given(METHODS, st.sampled_from(["", "/r1", "/r1/status"]), CONTENT_TYPES, st.binary(max_size=200))
async def test_bytes_as_bodies(world: World, method: str, place: str, content_type: str, content: bytes) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    async with world.client() as client:
        await client.post(f"{NS}/modelrollouts", json=rollout())
        await check(client, method, f"{NS}/modelrollouts{place}", content=content, headers=headers)


@ANY
@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status", "kind", "x"]), SHAPED))
async def test_json_as_objects(world: World, parts: dict[str, Any]) -> None:
    async with world.client() as client:
        for path in ("modelrollouts", "models", "devices", "modelversions"):
            served = await client.get(f"{GROUP}")
            kind = next(r["kind"] for r in served.json()["resources"] if r["name"] == path)
            body = {"apiVersion": "litefleet.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, **parts}
            await check(client, "POST", f"{NS}/{path}?dryRun=All", content=encoded(body))
        await check(client, "POST", "/api/v1/namespaces?dryRun=All", content=encoded({**body, "kind": "Namespace"}))


@ANY
@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), SHAPED), st.sampled_from(["", "/status"]))
async def test_json_as_merge_patches_and_puts(world: World, patch: dict[str, Any], place: str) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    async with world.client() as client:
        await client.post(f"{NS}/modelrollouts", json=rollout())
        path = f"{NS}/modelrollouts/r1{place}?dryRun=All"
        await check(client, "PATCH", path, content=encoded(patch), headers=headers)
        await check(client, "PUT", path, content=encoded({**rollout(), **patch}))
        assert (await client.get(f"{NS}/modelrollouts/r1")).status_code == 200


POINTERS = st.sampled_from(
    ["", "/metadata", "/metadata/name", "/metadata/labels", "/metadata/finalizers", "/metadata/ownerReferences",
     "/metadata/resourceVersion", "/metadata/annotations", "/spec", "/spec/modelRef", "/spec/strategy/canary/steps/-",
     "/spec/paused", "/status", "/kind", "/x", "x", "/metadata/generation", "/metadata/uid", "/metadata/deletionTimestamp"]
)  # fmt: skip
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": POINTERS},
    optional={"value": SHAPED, "from": POINTERS},
)


@ANY
@given(st.lists(OPERATION, max_size=4), st.sampled_from(["", "/status"]))
async def test_json_patches(world: World, operations: list[Any], place: str) -> None:
    headers = {"Content-Type": "application/json-patch+json"}
    async with world.client() as client:
        await client.post(f"{NS}/modelrollouts", json=rollout())
        path = f"{NS}/modelrollouts/r1{place}"
        await check(client, "PATCH", f"{path}?dryRun=All", content=encoded(operations), headers=headers)


@ANY
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "limit",
                "continue",
                "labelSelector",
                "fieldSelector",
                "resourceVersion",
                "resourceVersionMatch",
                "timeoutSeconds",
                "includeObject",
                "sendInitialEvents",
                "allowWatchBookmarks",
                "pretty",
            ]
        ),
        st.text(max_size=12) | st.sampled_from(["1", "0", "true", "a in (b", "metadata.name=x", "Exact", "!a", "a=b,"]),
        max_size=4,
    ),
    HEADER,
)
async def test_list_options(world: World, query: dict[str, str], accept: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"{NS}/devices", params=query, headers={"Accept": accept})
        assert answer.status_code < 500 or answer.json()["reason"] == "Timeout", answer.text


@ANY
@given(JSON, st.sampled_from(["selfsubjectaccessreviews", "selfsubjectrulesreviews"]), st.binary(max_size=60))
async def test_reviews(world: World, spec: Any, plural: str, tail: bytes) -> None:
    kind = {"selfsubjectaccessreviews": "SelfSubjectAccessReview", "selfsubjectrulesreviews": "SelfSubjectRulesReview"}
    path = f"/apis/authorization.k8s.io/v1/{plural}"
    async with world.client() as client:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind[plural], "spec": spec}
        await check(client, "POST", path, content=encoded(body))
        headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
        await check(client, "POST", path, content=b"k8s\x00" + tail, headers=headers)


@ANY
@given(JSON)
async def test_delete_options(world: World, body: Any) -> None:
    async with world.client() as client:
        await check(client, "DELETE", f"{NS}/modelrollouts/nope", content=encoded(body))


@ANY
@given(HEADER)
async def test_credentials(world: World, header: str) -> None:
    async with world.client("") as client:
        answer = await client.get(f"{NS}/devices", headers={"Authorization": header})
        assert answer.status_code == 401
