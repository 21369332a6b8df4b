"""The real kubectl against the real API: reading, writing, waiting, one behaviour a test."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from typing import Any

import yaml

from litefleet_controller.identity.roles import Role
from litefleet_controller.resources.registry import Registry
from tests.flow.conftest import MANIFEST, ROLLOUT, Cluster, watches


async def test_api_resources_lists_every_kind_with_its_short_names(cluster: Cluster) -> None:
    result = await cluster.kubectl("api-resources", "--api-group=litefleet.dev", "--no-headers")
    shown = {line.split()[-1]: line.split()[1] for line in result.out.splitlines()}
    assert shown == {k.kind: ",".join(k.short_names) for k in Registry()}


async def test_explain_describes_a_field_deep_inside(cluster: Cluster) -> None:
    result = await cluster.kubectl("explain", "modelrollout.spec.strategy.canary.steps")
    assert "setWeight\t<integer>\n    Percent of each class; rounds up." in result.out
    assert "FIELD: steps <[]Object>" in result.out


async def test_explain_recursive_walks_every_kind(cluster: Cluster) -> None:
    for kind in Registry():
        result = await cluster.kubectl("explain", kind.singular, "--recursive")
        assert "observedGeneration" in result.out


async def test_apply_creates_then_leaves_unchanged_then_configures(cluster: Cluster) -> None:
    path = cluster.manifest()
    assert (await cluster.kubectl("apply", "-f", path)).out == "modelrollout.litefleet.dev/digits-line-a created\n"
    assert (await cluster.kubectl("apply", "-f", path)).out == "modelrollout.litefleet.dev/digits-line-a unchanged\n"
    changed = cluster.manifest(lambda m: m["spec"].update(paused=True))
    assert (
        await cluster.kubectl("apply", "-f", changed)
    ).out == "modelrollout.litefleet.dev/digits-line-a configured\n"
    assert (await cluster.objects.get(ROLLOUT)).generation == 2


async def test_apply_takes_back_a_field_that_left_the_manifest(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", cluster.manifest(lambda m: m["spec"].update(probationSeconds=77)))
    await cluster.kubectl("apply", "-f", cluster.manifest())
    assert (await cluster.objects.get(ROLLOUT)).json()["spec"]["probationSeconds"] == 10


async def test_apply_names_every_invalid_field(cluster: Cluster) -> None:
    def spoil(manifest: dict[str, Any]) -> None:
        manifest["spec"]["onFailure"] = "Explode"
        manifest["spec"]["strategy"]["canary"]["steps"][0]["setWeight"] = 101

    result = await cluster.kubectl("apply", "-f", cluster.manifest(spoil), code=1)
    assert 'The ModelRollout "digits-line-a" is invalid' in result.err
    assert "* spec.strategy.canary.steps[0].setWeight: Invalid value: 101" in result.err
    assert "* spec.onFailure:" in result.err


async def test_apply_of_an_unknown_field_names_it_and_the_nearest_known_one(cluster: Cluster) -> None:
    result = await cluster.kubectl("apply", "-f", cluster.manifest(lambda m: m["spec"].update(stratgy={})), code=1)
    assert 'strict decoding error: unknown field "spec.stratgy", did you mean "strategy"?' in result.err


async def test_apply_with_dry_run_stores_nothing(cluster: Cluster) -> None:
    result = await cluster.kubectl("apply", "-f", cluster.manifest(), "--dry-run=server")
    assert result.out == "modelrollout.litefleet.dev/digits-line-a created (server dry run)\n"
    assert (await cluster.kubectl("get", "mro")).err.startswith("No resources found")


async def test_create_and_replace_work(cluster: Cluster) -> None:
    await cluster.kubectl("create", "-f", cluster.manifest())
    again = await cluster.kubectl("create", "-f", cluster.manifest(), code=1)
    assert '"digits-line-a" already exists' in again.err
    shown = json.loads((await cluster.kubectl("get", "mro", "digits-line-a", "-o", "json")).out)
    shown["spec"]["paused"] = True
    await cluster.kubectl("replace", "-f", "-", stdin=json.dumps(shown))
    stale = await cluster.kubectl("replace", "-f", "-", stdin=json.dumps(shown), code=1)
    assert "the object has been modified" in stale.err or "read the latest version" in stale.err


async def test_get_shows_printer_columns(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.status({"phase": "Progressing", "currentStepIndex": 1, "message": "waits 10m"})
    header, row = (await cluster.kubectl("get", "mro")).out.splitlines()
    assert header.split() == ["NAME", "MODEL", "TARGET", "PHASE", "STEP", "MESSAGE", "AGE"]
    assert row.split()[:4] == ["digits-line-a", "digits", "Progressing", "1"]


async def test_get_wide_shows_more_columns(cluster: Cluster) -> None:
    header = (await cluster.kubectl("get", "devices", "-o", "wide")).err
    assert header.startswith("No resources found")
    device = {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": "d1"},
        "spec": {"class": "pi4"},
    }
    await cluster.kubectl("create", "-f", "-", stdin=json.dumps(device))
    assert "MESSAGE" not in (await cluster.kubectl("get", "dev")).out
    assert "MESSAGE" in (await cluster.kubectl("get", "dev", "-o", "wide")).out


async def test_get_in_other_forms(cluster: Cluster) -> None:
    await cluster.applied()
    name = await cluster.kubectl("get", "mro", "-o", "jsonpath={.items[*].spec.modelRef.name}")
    assert name.out == "digits"
    body = yaml.safe_load((await cluster.kubectl("get", "mro", "digits-line-a", "-o", "yaml")).out)
    assert body["spec"]["strategy"]["canary"]["steps"][1] == {"pause": {"duration": "10m"}}
    assert (await cluster.kubectl("get", "litefleet", "-o", "name")).out == "modelrollout.litefleet.dev/digits-line-a\n"


async def test_get_selects_by_label_and_by_field(cluster: Cluster) -> None:
    await cluster.applied()
    for selector, found in (("site=a", True), ("site in (b,c)", False), ("!site", False), ("site!=b", True)):
        assert ("digits-line-a" in (await cluster.kubectl("get", "mro", "-l", selector)).out) is found, selector
    for selector, found in (("metadata.name=digits-line-a", True), ("spec.modelRef.name=other", False)):
        result = await cluster.kubectl("get", "mro", f"--field-selector={selector}")
        assert ("digits-line-a" in result.out) is found, selector


async def test_get_pages_through_what_is_larger_than_its_chunk(cluster: Cluster) -> None:
    for number in range(5):
        await cluster.objects.create({**MANIFEST, "metadata": {"name": f"r{number}"}})
    result = await cluster.kubectl("get", "mro", "--chunk-size=2", "-o", "name")
    assert len(result.out.splitlines()) == 5


async def test_get_watch_shows_a_change(cluster: Cluster) -> None:
    await cluster.applied()
    process = await cluster.start("get", "mro", "-w", "--no-headers")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert b"digits-line-a" in await process.stdout.readline()
        await cluster.status({"phase": "Paused"})
        assert b"Paused" in await process.stdout.readline()
    process.kill()
    await process.communicate()


async def test_describe_shows_events(cluster: Cluster) -> None:
    await cluster.applied()
    uid = (await cluster.objects.get(ROLLOUT)).uid
    await cluster.events.record(ROLLOUT, uid, "Warning", "Aborted", "p95 too high", datetime.now(UTC), "rollout")
    result = await cluster.kubectl("describe", "mro", "digits-line-a")
    assert "Max Unavailable:" in result.out
    last = result.out.splitlines()[-1]
    assert last.split()[:2] == ["Warning", "Aborted"]
    assert last.endswith("p95 too high")


async def test_get_events_and_kubectl_events_show_them(cluster: Cluster) -> None:
    await cluster.applied()
    uid = (await cluster.objects.get(ROLLOUT)).uid
    for _ in range(2):
        await cluster.events.record(ROLLOUT, uid, "Normal", "Step", "weight 5", datetime.now(UTC), "rollout")
    for command in (("get", "events"), ("events", "--for=modelrollout/digits-line-a")):
        result = await cluster.kubectl(*command)
        assert "odelrollout/digits-line-a" in result.out.replace("ModelRollout", "modelrollout"), result
        assert "(x2 over" in result.out


async def test_wait_for_a_condition_ends_when_the_status_says_so(cluster: Cluster) -> None:
    await cluster.applied()
    process = await cluster.start("wait", "mro/digits-line-a", "--for=condition=Healthy", "--timeout=30s")
    condition = {
        "type": "Healthy",
        "status": "True",
        "reason": "Complete",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    await cluster.status({"observedGeneration": 1, "conditions": [condition]})
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert (process.returncode, out) == (0, b"modelrollout.litefleet.dev/digits-line-a condition met\n"), err


async def test_wait_notices_a_condition_that_comes_while_it_watches(cluster: Cluster) -> None:
    await cluster.applied()
    arguments = ("--for=jsonpath={.status.phase}=Healthy", "--timeout=30s", "-v=8")
    process = await cluster.start("wait", "mro/digits-line-a", *arguments)
    await watches(process)
    await cluster.status({"phase": "Healthy"})
    assert await asyncio.wait_for(process.wait(), 40) == 0
    await process.communicate()


async def test_wait_for_delete_ends_when_it_is_gone(cluster: Cluster) -> None:
    await cluster.applied()
    process = await cluster.start("wait", "mro/digits-line-a", "--for=delete", "--timeout=30s", "-v=8")
    await watches(process)
    await cluster.objects.delete(ROLLOUT)
    assert await asyncio.wait_for(process.wait(), 40) == 0
    await process.communicate()


async def test_label_and_annotate_change_metadata_alone(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.kubectl("label", "mro", "digits-line-a", "ring=canary", "site-")
    await cluster.kubectl("annotate", "mro", "digits-line-a", "litefleet.dev/request=promote 1")
    record = await cluster.objects.get(ROLLOUT)
    assert record.labels == {"ring": "canary"}
    assert record.json()["metadata"]["annotations"]["litefleet.dev/request"] == "promote 1"
    assert record.generation == 1


async def test_edit_saves_what_the_editor_changed(cluster: Cluster) -> None:
    await cluster.applied()
    editor = cluster.home / "editor"
    editor.write_text(f'#!/bin/sh\n{shutil.which("sed")} -i "s/paused: false/paused: true/" "$1"\n')
    editor.chmod(0o755)
    result = await cluster.kubectl("edit", "mro", "digits-line-a", KUBE_EDITOR=str(editor))
    assert result.out == "modelrollout.litefleet.dev/digits-line-a edited\n"
    assert (await cluster.objects.get(ROLLOUT)).json()["spec"]["paused"] is True


async def test_patch_merge_and_json(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.kubectl("patch", "mro", "digits-line-a", "--type=merge", "-p", '{"spec":{"paused":true}}')
    operation = '[{"op":"replace","path":"/spec/strategy/canary/steps/0/setWeight","value":9}]'
    await cluster.kubectl("patch", "mro", "digits-line-a", "--type=json", "-p", operation)
    spec = (await cluster.objects.get(ROLLOUT)).json()["spec"]
    assert spec["paused"] is True
    assert spec["strategy"]["canary"]["steps"][0]["setWeight"] == 9


async def test_patch_of_the_status_subresource(cluster: Cluster) -> None:
    await cluster.applied()
    patch = '{"status":{"phase":"Degraded"}}'
    await cluster.kubectl("patch", "mro", "digits-line-a", "--subresource=status", "--type=merge", "-p", patch)
    record = await cluster.objects.get(ROLLOUT)
    assert record.json()["status"] == {"phase": "Degraded"}
    assert record.generation == 1


async def test_delete_by_name_by_label_and_by_file(cluster: Cluster) -> None:
    path = await cluster.applied()
    assert "deleted" in (await cluster.kubectl("delete", "mro", "digits-line-a")).out
    await cluster.applied()
    assert "deleted" in (await cluster.kubectl("delete", "mro", "-l", "site=a")).out
    await cluster.applied()
    assert "deleted" in (await cluster.kubectl("delete", "-f", path)).out
    gone = await cluster.kubectl("delete", "mro", "digits-line-a", code=1)
    assert 'modelrollouts.litefleet.dev "digits-line-a" not found' in gone.err


async def test_delete_waits_for_finalizers(cluster: Cluster) -> None:
    await cluster.applied()
    hold = '{"metadata":{"finalizers":["litefleet.dev/hold"]}}'
    await cluster.kubectl("patch", "mro", "digits-line-a", "--type=merge", "-p", hold)
    process = await cluster.start("delete", "mro", "digits-line-a", "--timeout=30s")
    async with asyncio.timeout(20):
        while "deletionTimestamp" not in (await cluster.objects.get(ROLLOUT)).json()["metadata"]:
            await asyncio.sleep(0.02)
    assert process.returncode is None
    await cluster.kubectl("patch", "mro", "digits-line-a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, err
    assert b"deleted" in out


async def test_diff_shows_what_apply_would_change(cluster: Cluster) -> None:
    path = await cluster.applied()
    await cluster.kubectl("diff", "-f", path)
    changed = cluster.manifest(lambda m: m["spec"].update(paused=True))
    result = await cluster.kubectl("diff", "-f", changed, code=1)
    assert "-  paused: false\n+  paused: true\n" in result.out
    assert (await cluster.objects.get(ROLLOUT)).generation == 1


async def test_create_namespace_and_work_in_it(cluster: Cluster) -> None:
    assert (await cluster.kubectl("create", "ns", "team-a")).out == "namespace/team-a created\n"
    assert "already exists" in (await cluster.kubectl("create", "ns", "team-a", code=1)).err
    await cluster.kubectl("apply", "-n", "team-a", "-f", cluster.manifest())
    shown = await cluster.kubectl("get", "mro", "-A", "--no-headers")
    assert shown.out.split()[:2] == ["team-a", "digits-line-a"]
    assert "Active" in (await cluster.kubectl("get", "ns", "team-a")).out


async def test_apply_into_a_missing_namespace_says_so(cluster: Cluster) -> None:
    result = await cluster.kubectl("apply", "-n", "nowhere", "-f", cluster.manifest(), code=1)
    assert 'namespaces "nowhere" not found' in result.err


async def test_auth_can_i_answers_by_role(cluster: Cluster) -> None:
    await cluster.login("vera", Role.VIEWER)
    assert (await cluster.kubectl("auth", "can-i", "create", "modelrollouts")).out == "yes\n"
    assert (await cluster.kubectl("auth", "can-i", "*", "*")).out == "yes\n"
    assert (await cluster.kubectl("auth", "can-i", "create", "mro", user="vera", code=1)).out.startswith("no")
    assert (await cluster.kubectl("auth", "can-i", "list", "mro", user="vera")).out == "yes\n"
    assert "modelrollouts.litefleet.dev" in (await cluster.kubectl("auth", "can-i", "--list", user="vera")).out


async def test_auth_whoami_names_the_token_s_owner(cluster: Cluster) -> None:
    result = await cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert result.out == "ada"


async def test_a_viewer_is_told_what_is_forbidden(cluster: Cluster) -> None:
    await cluster.login("vera", Role.VIEWER)
    result = await cluster.kubectl("apply", "-f", cluster.manifest(), user="vera", code=1)
    assert 'User "vera" cannot create resource "modelrollouts"' in result.err


async def test_another_tenant_s_object_does_not_exist(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.kubectl("create", "ns", "team-a")
    await cluster.login("tom", Role.OPERATOR, "team-a")
    result = await cluster.kubectl("get", "mro", "digits-line-a", "-n", "default", user="tom", code=1)
    assert "(NotFound)" in result.err
