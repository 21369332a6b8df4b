"""The real kubectl shows objects: every output form, watches, explanations, events, and what is refused clearly."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from litefleet_controller.resources.registry import Registry
from tests.flow.conftest import MANIFEST, ROLLOUT, Cluster, watches


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-o", "name"], "modelrollout.litefleet.dev/digits-line-a\n"),
        (["-o", "jsonpath={.spec.modelRef.name}"], "digits"),
        (["-o", "go-template={{.metadata.name}}"], "digits-line-a"),
        (["-o", "custom-columns=N:.metadata.name,S:.metadata.labels.site", "--no-headers"], "digits-line-a   a\n"),
        (["-o", "custom-columns=N:.metadata.name"], "N\ndigits-line-a\n"),
        (["-o", "jsonpath-as-json={.spec.paused}"], "[\n    false\n]\n"),
    ],
    ids=lambda value: value[1].split("=")[0] if isinstance(value, list) else "",
)
async def test_output_forms(cluster: Cluster, arguments: list[str], shown: str) -> None:
    await cluster.applied()
    assert (await cluster.kubectl("get", "mro", "digits-line-a", *arguments)).out == shown


async def test_json_yaml_and_kyaml_say_the_same(cluster: Cluster) -> None:
    await cluster.applied()
    body = json.loads((await cluster.kubectl("get", "mro", "digits-line-a", "-o", "json")).out)
    for form in ("yaml", "kyaml"):
        assert yaml.safe_load((await cluster.kubectl("get", "mro", "digits-line-a", "-o", form)).out) == body
    files = cluster.home / "template"
    files.write_text("{.metadata.uid}")
    by_file = await cluster.kubectl("get", "mro", "digits-line-a", f"-o=jsonpath-file={files}")
    assert by_file.out == body["metadata"]["uid"]


async def test_tables_with_labels_kinds_and_order(cluster: Cluster) -> None:
    for name, site in (("a", "z"), ("b", "y")):
        await cluster.objects.create({**MANIFEST, "metadata": {"name": name, "labels": {"site": site}}})
    labels = (await cluster.kubectl("get", "mro", "--show-labels", "--show-kind")).out.splitlines()
    assert labels[0].split()[-1] == "LABELS"
    assert labels[1].startswith("modelrollout.litefleet.dev/a ")
    assert labels[1].endswith("site=z")
    column = (await cluster.kubectl("get", "mro", "-L", "site", "--no-headers")).out.splitlines()
    assert [line.split()[-1] for line in column] == ["z", "y"]
    ordered = await cluster.kubectl("get", "mro", "--sort-by=.metadata.labels.site", "--no-headers")
    assert [line.split()[0] for line in ordered.out.splitlines()] == ["b", "a"]


async def test_several_kinds_and_a_category_in_one_call(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.objects.create(
        {"apiVersion": MANIFEST["apiVersion"], "kind": "Device", "metadata": {"name": "d1"}, "spec": {"class": "pi4"}}
    )
    for what in ("litefleet", "mro,dev"):
        names = (await cluster.kubectl("get", what, "-o", "name")).out.split()
        assert sorted(names) == ["device.litefleet.dev/d1", "modelrollout.litefleet.dev/digits-line-a"]


async def test_the_age_column_tells_the_time(cluster: Cluster) -> None:
    await cluster.applied()
    assert (await cluster.kubectl("get", "mro", "--no-headers")).out.split()[-1].endswith("s")


async def test_the_status_subresource_and_raw_paths(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.status({"phase": "Paused"})
    shown = await cluster.kubectl(
        "get", "mro", "digits-line-a", "--subresource=status", "-o", "jsonpath={.status.phase}"
    )
    assert shown.out == "Paused"
    raw = await cluster.kubectl("get", "--raw", "/apis/litefleet.dev/v1alpha1/namespaces/default/modelrollouts?limit=1")
    assert json.loads(raw.out)["kind"] == "ModelRolloutList"


async def test_watch_shows_what_comes_changes_and_goes(cluster: Cluster) -> None:
    process = await cluster.start("get", "mro", "--watch", "--output-watch-events", "--no-headers", "-v=8")
    await watches(process)
    path = await cluster.applied()
    await cluster.status({"phase": "Paused"})
    await cluster.kubectl("delete", "-f", path)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [await process.stdout.readline() for _ in range(3)]
    process.kill()
    await process.communicate()
    assert [line.split()[0] for line in lines] == [b"ADDED", b"MODIFIED", b"DELETED"]


async def test_watch_only_prints_objects_as_they_change(cluster: Cluster) -> None:
    await cluster.applied()
    process = await cluster.start("get", "mro", "--watch-only", "-o", "name", "-v=8")
    await watches(process)
    await cluster.status({"phase": "Paused"})
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"modelrollout.litefleet.dev/digits-line-a\n"
    process.kill()
    await process.communicate()


async def test_explain_has_a_description_for_every_field_of_every_kind(cluster: Cluster) -> None:
    document = json.loads((await cluster.kubectl("get", "--raw", "/openapi/v3/apis/litefleet.dev/v1alpha1")).out)
    schemas = document["components"]["schemas"]
    silent = [
        f"{kind.kind}{place}"
        for kind in Registry()
        for part in ("spec", "status")
        for place in _silent(schemas[f"dev.litefleet.v1alpha1.{kind.kind}"]["properties"][part], f".{part}")
    ]
    assert silent == []


def _silent(schema: dict[str, Any], place: str) -> list[str]:
    found = [] if schema.get("description") else [place]
    for name, inner in schema.get("properties", {}).items():
        found += _silent(inner, f"{place}.{name}")
    if "properties" in schema.get("items", {}):
        for name, inner in schema["items"]["properties"].items():
            found += _silent(inner, f"{place}[].{name}")
    return found


async def test_explain_of_a_field_that_is_not_there(cluster: Cluster) -> None:
    result = await cluster.kubectl("explain", "mro.spec.stratgy", code=1)
    assert 'field "stratgy" does not exist' in result.err


async def test_describe_every_kind(cluster: Cluster) -> None:
    await cluster.applied()
    for kind in Registry():
        result = await cluster.kubectl("describe", kind.plural)
        assert ("digits-line-a" in result.out) is (kind.kind == "ModelRollout")


async def test_scale_is_refused_where_it_means_nothing(cluster: Cluster) -> None:
    await cluster.applied()
    result = await cluster.kubectl("scale", "mro", "digits-line-a", "--replicas=3", code=1)
    assert 'modelrollouts.litefleet.dev "digits-line-a" not found' in result.err or "could not find" in result.err


async def test_rollout_status_and_strategic_patches_are_refused_with_a_reason(cluster: Cluster) -> None:
    await cluster.applied()
    patch = await cluster.kubectl("patch", "mro", "digits-line-a", "-p", '{"spec":{"paused":true}}', code=1)
    assert "application/merge-patch+json" in patch.err
    status = await cluster.kubectl("rollout", "status", "mro/digits-line-a", code=1)
    assert 'no kind "ModelRollout" is registered' in status.err


async def test_dry_runs_on_the_server_change_nothing(cluster: Cluster) -> None:
    created = await cluster.kubectl(
        "create", "-f", cluster.manifest(), "--dry-run=server", "-o", "jsonpath={.spec.paused}"
    )
    assert created.out == "false"
    await cluster.applied()
    before = await cluster.objects.get(ROLLOUT)
    for command in (
        ("label", "mro", "digits-line-a", "x=y"),
        ("annotate", "mro", "digits-line-a", "x=y"),
        ("patch", "mro", "digits-line-a", "--type=merge", "-p", '{"spec":{"paused":true}}'),
        ("replace", "-f", cluster.manifest(lambda m: m["spec"].update(paused=True))),
    ):
        await cluster.kubectl(*command, "--dry-run=server")
    assert await cluster.objects.get(ROLLOUT) == before


async def test_labels_of_a_selection_and_overwriting(cluster: Cluster) -> None:
    await cluster.applied()
    refused = await cluster.kubectl("label", "mro", "digits-line-a", "site=b", code=1)
    assert "already has a value" in refused.err
    await cluster.kubectl("label", "mro", "--all", "site=b", "--overwrite")
    assert "site=b" in (await cluster.kubectl("label", "mro", "digits-line-a", "--list")).out
    await cluster.kubectl("annotate", "mro", "-l", "site=b", "note=long text")
    assert "note=long text" in (await cluster.kubectl("annotate", "mro", "digits-line-a", "--list")).out


async def test_edit_of_something_invalid_is_shown_again_with_the_reason(cluster: Cluster) -> None:
    await cluster.applied()
    editor = cluster.home / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/paused: false/paused: 7/" "$1"\n')
    editor.chmod(0o755)
    result = await cluster.kubectl("edit", "mro", "digits-line-a", code=1, KUBE_EDITOR=str(editor))
    assert "is invalid" in result.err
    assert (await cluster.objects.get(ROLLOUT)).generation == 1


async def test_wait_for_creation_and_for_all(cluster: Cluster) -> None:
    process = await cluster.start("wait", "mro/digits-line-a", "--for=create", "--timeout=30s")
    await cluster.applied()
    assert await asyncio.wait_for(process.wait(), 40) == 0
    await process.communicate()
    await cluster.status({"phase": "Healthy"})
    await cluster.kubectl("wait", "mro", "--all", "--for=jsonpath={.status.phase}=Healthy", "--timeout=10s")
    late = await cluster.kubectl("wait", "mro", "--all", "--for=condition=Healthy", "--timeout=1s", code=1)
    assert "timed out waiting for the condition" in late.err


async def test_events_by_type_and_in_both_versions_of_the_api(cluster: Cluster) -> None:
    await cluster.applied()
    uid = (await cluster.objects.get(ROLLOUT)).uid
    for type_, reason in (("Normal", "Step"), ("Warning", "Aborted")):
        await cluster.events.record(ROLLOUT, uid, type_, reason, "in plain words", datetime.now(UTC), "rollout")
    result = await cluster.kubectl("events", "--types=Warning")
    assert "Aborted" in result.out
    assert "Step" not in result.out
    newer = json.loads((await cluster.kubectl("get", "events.events.k8s.io", "-o", "json")).out)
    assert {i["reason"]: i["note"] for i in newer["items"]} == {"Step": "in plain words", "Aborted": "in plain words"}
    selected = await cluster.kubectl(
        "get", "events.v1.events.k8s.io", "--field-selector=regarding.name=digits-line-a,type=Normal", "-o", "name"
    )
    assert len(selected.out.split()) == 1


async def test_create_token_and_other_things_that_are_not_here(cluster: Cluster) -> None:
    result = await cluster.kubectl("get", "pods", code=1)
    assert 'the server doesn\'t have a resource type "pods"' in result.err
