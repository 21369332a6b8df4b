"""kubectl's server-side apply: managers, conflicts, force, and the way there from client-side apply."""

import json
from typing import Any

import yaml

from tests.flow.conftest import ROLLOUT, Cluster


def paused(value: bool) -> Any:
    return lambda manifest: manifest["spec"].update(paused=value)


async def entries(cluster: Cluster) -> dict[tuple[str, str], dict[str, Any]]:
    metadata = (await cluster.objects.get(ROLLOUT)).json()["metadata"]
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in metadata["managedFields"]}


async def test_it_creates_and_then_changes(cluster: Cluster) -> None:
    first = await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest())
    assert first.out == "modelrollout.litefleet.dev/digits-line-a serverside-applied\n"
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest(paused(True)))
    assert (await cluster.objects.get(ROLLOUT)).json()["spec"]["paused"] is True
    assert list(await entries(cluster)) == [("kubectl", "Apply")]


async def test_the_same_file_again_makes_no_new_version(cluster: Cluster) -> None:
    path = cluster.manifest()
    await cluster.kubectl("apply", "--server-side", "-f", path)
    before = (await cluster.objects.get(ROLLOUT)).resource_version
    await cluster.kubectl("apply", "--server-side", "-f", path)
    assert (await cluster.objects.get(ROLLOUT)).resource_version == before


async def test_a_conflict_names_the_field_its_owner_and_the_ways_out(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest(paused(True)))
    other = ("apply", "--server-side", "--field-manager=ci", "-f", cluster.manifest(paused(False)))
    refused = await cluster.kubectl(*other, code=1)
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .spec.paused' in refused.err
    assert "--force-conflicts" in refused.err
    await cluster.kubectl(*other, "--force-conflicts")
    owned = await entries(cluster)
    assert "f:paused" in owned["ci", "Apply"]["f:spec"]
    assert "f:paused" not in owned["kubectl", "Apply"]["f:spec"]


async def test_what_is_no_longer_in_the_file_goes(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest(paused(True)))
    bare = cluster.manifest(lambda m: (m["metadata"].pop("labels"), m["spec"].pop("strategy")))
    await cluster.kubectl("apply", "--server-side", "-f", bare)
    body = (await cluster.objects.get(ROLLOUT)).json()
    assert "labels" not in body["metadata"]
    assert body["spec"]["paused"] is False
    assert body["spec"]["strategy"]["canary"]["steps"] == []


async def test_dry_run_and_diff_show_and_store_nothing(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest())
    before = (await cluster.objects.get(ROLLOUT)).body
    changed = cluster.manifest(paused(True))
    dry = await cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", changed)
    assert "serverside-applied (server dry run)" in dry.out
    diff = await cluster.kubectl("diff", "--server-side", "-f", changed, code=1)
    assert "-  paused: false\n+  paused: true" in diff.out
    assert (await cluster.objects.get(ROLLOUT)).body == before


async def test_an_unknown_field_is_refused_with_its_place_and_the_nearest_known_one(cluster: Cluster) -> None:
    path = cluster.manifest(lambda m: m["spec"].update(stratgy={}))
    refused = await cluster.kubectl("apply", "--server-side", "-f", path, code=1)
    assert 'spec.stratgy: field not declared in schema; did you mean "strategy"?' in refused.err


async def test_managed_fields_are_shown_on_request(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest())
    get = ("get", "mro", "digits-line-a", "-o", "yaml")
    assert "managedFields" not in (await cluster.kubectl(*get)).out
    shown = yaml.safe_load((await cluster.kubectl(*get, "--show-managed-fields")).out)
    (entry,) = shown["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("kubectl", "Apply", "FieldsV1")
    assert entry["fieldsV1"]["f:spec"]["f:modelRef"] == {"f:name": {}}


async def test_who_applied_in_the_client_goes_over_to_the_server(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", cluster.manifest(paused(True)))
    assert ("kubectl-client-side-apply", "Update") in await entries(cluster)
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest(lambda m: m["metadata"].pop("labels")))
    body = (await cluster.objects.get(ROLLOUT)).json()
    assert "labels" not in body["metadata"]
    assert ("kubectl-client-side-apply", "Update") not in await entries(cluster)
    last = body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert "labels" not in json.loads(last)["metadata"]


async def test_one_can_go_back_to_applying_in_the_client(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", cluster.manifest())
    moved = cluster.manifest(lambda m: m["metadata"]["labels"].update(site="b", line="1"))
    await cluster.kubectl("apply", "--server-side", "-f", moved)
    await cluster.kubectl("apply", "-f", cluster.manifest())
    assert (await cluster.objects.get(ROLLOUT)).labels == {"site": "a"}


async def test_edits_by_others_are_theirs(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest())
    await cluster.kubectl("label", "mro", "digits-line-a", "ring=canary")
    await cluster.kubectl("apply", "--server-side", "-f", cluster.manifest(paused(True)))
    assert (await cluster.objects.get(ROLLOUT)).labels == {"ring": "canary", "site": "a"}
    mine = cluster.manifest(lambda m: m["metadata"]["labels"].update(ring="all"))
    refused = await cluster.kubectl("apply", "--server-side", "-f", mine, code=1)
    assert 'conflict with "kubectl-label" using litefleet.dev/v1alpha1: .metadata.labels.ring' in refused.err
