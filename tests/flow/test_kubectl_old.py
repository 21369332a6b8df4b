"""A kubectl of 2024 (1.29) does its daily work too: it asks for beta discovery and watches without initial events."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.resources.registry import Registry
from tests.flow.conftest import ROLLOUT, Cluster, watches

SCRIPT = Path(__file__).parents[2] / "scripts" / "get-old-kubectl"


@pytest.fixture(scope="module")
def program() -> Path:
    """Out of .cache; fetched once, in some seconds."""
    found = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=240, check=False)
    if found.returncode != 0:
        pytest.skip(f"scripts/get-old-kubectl got no kubectl 1.29: {found.stderr.strip()[-300:]}")
    return Path(found.stdout.strip().splitlines()[-1])


@pytest.fixture
def old(cluster: Cluster, program: Path) -> Cluster:
    cluster.program = program
    return cluster


async def test_version_and_api_resources(old: Cluster) -> None:
    versions = json.loads((await old.kubectl("version", "-o", "json")).out)
    assert versions["clientVersion"]["gitVersion"].startswith("v1.29.")
    result = await old.kubectl("api-resources", "--api-group=litefleet.dev", "--no-headers")
    assert {line.split()[-1] for line in result.out.splitlines()} == {k.kind for k in Registry()}


async def test_explain(old: Cluster) -> None:
    assert "Percent of each class" in (await old.kubectl("explain", "mro.spec.strategy.canary.steps")).out
    assert "observedGeneration" in (await old.kubectl("explain", "device", "--recursive")).out


async def test_apply_diff_apply_and_get(old: Cluster) -> None:
    path = await old.applied()
    assert (await old.kubectl("apply", "-f", path)).out.endswith(" unchanged\n")
    changed = old.manifest(lambda m: m["spec"].update(paused=True))
    assert "+  paused: true" in (await old.kubectl("diff", "-f", changed, code=1)).out
    assert (await old.kubectl("apply", "-f", changed)).out.endswith(" configured\n")
    assert (await old.kubectl("get", "mro", "--no-headers")).out.split()[0] == "digits-line-a"
    assert (await old.kubectl("get", "litefleet", "-o", "name")).out == "modelrollout.litefleet.dev/digits-line-a\n"


async def test_unknown_fields_are_named(old: Cluster) -> None:
    result = await old.kubectl("apply", "-f", old.manifest(lambda m: m["spec"].update(stratgy={})), code=1)
    assert 'unknown field "spec.stratgy"' in result.err


async def test_label_annotate_patch_and_edit(old: Cluster) -> None:
    await old.applied()
    await old.kubectl("label", "mro", "digits-line-a", "ring=canary")
    await old.kubectl("annotate", "mro", "digits-line-a", "note=x")
    await old.kubectl("patch", "mro", "digits-line-a", "--type=merge", "-p", '{"spec":{"paused":true}}')
    editor = old.home / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/paused: true/paused: false/" "$1"\n')
    editor.chmod(0o755)
    assert "edited" in (await old.kubectl("edit", "mro", "digits-line-a", KUBE_EDITOR=str(editor))).out
    record = await old.objects.get(ROLLOUT)
    assert record.labels["ring"] == "canary"
    assert record.generation == 3


async def test_wait_and_watch(old: Cluster) -> None:
    await old.applied()
    process = await old.start("wait", "mro/digits-line-a", "--for=jsonpath={.status.phase}=Healthy", "-v=8")
    await watches(process)
    await old.status({"phase": "Healthy"})
    assert await asyncio.wait_for(process.wait(), 40) == 0
    await process.communicate()


@pytest.mark.parametrize(("cascade", "left"), [("background", []), ("foreground", []), ("orphan", ["child"])])
async def test_delete_cascades(old: Cluster, cascade: str, left: list[str]) -> None:
    await old.applied()
    await old.create_dependent("child")
    await old.kubectl("delete", "mro", "digits-line-a", f"--cascade={cascade}")
    shown: dict[str, Any] = json.loads((await old.kubectl("get", "mro", "-o", "json")).out)
    assert [i["metadata"]["name"] for i in shown["items"]] == left


async def test_describe_and_auth(old: Cluster) -> None:
    await old.applied()
    assert "Max Unavailable:" in (await old.kubectl("describe", "mro", "digits-line-a")).out
    assert (await old.kubectl("auth", "can-i", "create", "mro")).out == "yes\n"
    assert "ada" in (await old.kubectl("auth", "whoami")).out
    assert "created" in (await old.kubectl("create", "ns", "team-a")).out
