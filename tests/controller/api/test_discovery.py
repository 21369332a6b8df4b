import httpx

from litefleet_controller.resources.registry import MODEL_ROLLOUT
from tests.controller.api.conftest import World


async def test_aggregated_discovery_v2_is_served_with_its_own_content_type(api: httpx.AsyncClient) -> None:
    accept = (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    )
    answer = await api.get("/apis", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    group = next(g for g in answer.json()["items"] if g["metadata"].get("name") == "litefleet.dev")
    resources = {r["resource"]: r for r in group["versions"][0]["resources"]}
    assert resources["modelrollouts"]["shortNames"] == list(MODEL_ROLLOUT.short_names)
    assert resources["modelrollouts"]["subresources"][0]["subresource"] == "status"


async def test_discovery_is_not_sent_again_to_who_has_it(api: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    tag = (await api.get("/api", headers=accept)).headers["etag"]
    assert (await api.get("/api", headers={**accept, "If-None-Match": tag})).status_code == 304


async def test_who_asks_for_beta_discovery_gets_the_legacy_list(api: httpx.AsyncClient) -> None:
    beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    assert (await api.get("/apis", headers={"Accept": f"{beta},application/json"})).json()["kind"] == "APIGroupList"
    assert (await api.get("/apis", headers={"Accept": beta})).status_code == 406


async def test_legacy_lists_are_served_without_the_aggregated_accept(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api")).json()["versions"] == ["v1"]
    assert "litefleet.dev" in [g["name"] for g in (await api.get("/apis")).json()["groups"]]
    assert (await api.get("/apis/litefleet.dev")).json()["kind"] == "APIGroup"
    names = [r["name"] for r in (await api.get("/apis/litefleet.dev/v1alpha1")).json()["resources"]]
    assert {"devices", "devices/status"} <= set(names)
    assert {r["name"] for r in (await api.get("/api/v1")).json()["resources"]} == {
        "namespaces",
        "namespaces/status",
        "events",
    }


async def test_what_no_version_serves_is_a_plain_404(api: httpx.AsyncClient) -> None:
    for path in ("/apis/nope.dev", "/apis/litefleet.dev/v9", "/apis/litefleet.dev/v1alpha1/namespaces/x/gadgets"):
        answer = await api.get(path)
        assert (answer.status_code, answer.text) == (404, "404 page not found\n"), path


async def test_an_unknown_core_resource_is_a_status(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/v1/namespaces/default/pods")
    assert answer.status_code == 404
    assert answer.json()["message"] == "the server could not find the requested resource"


async def test_health_and_version_need_no_token(world: World) -> None:
    async with world.client("") as nobody:
        for path in ("/healthz", "/livez", "/readyz"):
            assert (await nobody.get(path)).text == "ok"
        assert (await nobody.get("/version")).json()["gitVersion"].startswith("v1.36.0+litefleet")


async def test_openapi_documents_pair_operations_and_schemas(api: httpx.AsyncClient) -> None:
    index = (await api.get("/openapi/v3")).json()["paths"]
    document = (await api.get(index["apis/litefleet.dev/v1alpha1"]["serverRelativeURL"])).json()
    patch = document["paths"]["/apis/litefleet.dev/v1alpha1/namespaces/{namespace}/modelrollouts/{name}"]["patch"]
    kind = {"group": "litefleet.dev", "kind": "ModelRollout", "version": "v1alpha1"}
    assert patch["x-kubernetes-group-version-kind"] == kind
    assert {p["name"] for p in patch["parameters"]} >= {"dryRun", "fieldValidation", "fieldManager", "force"}
    schema = document["components"]["schemas"]["dev.litefleet.v1alpha1.ModelRollout"]
    assert schema["x-kubernetes-group-version-kind"] == [kind]
    step = schema["properties"]["spec"]["properties"]["strategy"]["properties"]["canary"]["properties"]["steps"][
        "items"
    ]
    assert step["properties"]["setWeight"]["maximum"] == 100
    assert step["properties"]["pause"]["properties"]["duration"]["x-kubernetes-int-or-string"] is True


async def test_openapi_schemas_are_openapi_3_0_with_nothing_left_of_json_schema(api: httpx.AsyncClient) -> None:
    text = (await api.get("/openapi/v3/apis/litefleet.dev/v1alpha1")).text
    for word in ('"$defs"', '"#/$defs', '"type":"null"', '"prefixItems"', '"const"', '"title":"Set'):
        assert word not in text


async def test_every_reference_in_openapi_leads_somewhere(api: httpx.AsyncClient) -> None:
    for name in ("apis/litefleet.dev/v1alpha1", "api/v1", "apis/authorization.k8s.io/v1"):
        document = (await api.get(f"/openapi/v3/{name}")).json()
        found = set(_references(document))
        assert found
        assert found <= {f"#/components/schemas/{n}" for n in document["components"]["schemas"]}


async def test_a_stale_openapi_hash_redirects(api: httpx.AsyncClient) -> None:
    answer = await api.get("/openapi/v3/apis/litefleet.dev/v1alpha1?hash=0000")
    assert answer.status_code == 301
    assert answer.headers["location"].startswith("/openapi/v3/apis/litefleet.dev/v1alpha1?hash=")


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for v in node.values() for r in _references(v)]
    return [r for v in node for r in _references(v)] if isinstance(node, list) else []
