"""The real kubectl deletes: cascades, finalizers, selections, dry runs."""

import asyncio
import json

import pytest

from litefleet_controller.store.interface import Query
from tests.flow.conftest import MANIFEST, ROLLOUT, Cluster

RELEASE = '{"metadata":{"finalizers":null}}'


async def left(cluster: Cluster) -> list[str]:
    return [r.key.name for r in (await cluster.objects.list(Query("ModelRollout"))).records]


async def marked(cluster: Cluster, name: str) -> None:
    """Until the object waits for its finalizers."""
    async with asyncio.timeout(20):
        while "deletionTimestamp" not in (await cluster.kubectl("get", "mro", name, "-o", "json")).out:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("cascade", "expected"), [("background", []), ("foreground", []), ("orphan", ["child"])], ids=str
)
async def test_cascade_decides_about_dependents(cluster: Cluster, cascade: str, expected: list[str]) -> None:
    await cluster.applied()
    await cluster.create_dependent("child")
    result = await cluster.kubectl("delete", "mro", "digits-line-a", f"--cascade={cascade}")
    assert result.out.startswith('modelrollout.litefleet.dev "digits-line-a" deleted')
    assert await left(cluster) == expected


async def test_foreground_waits_until_a_held_dependent_is_released(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.create_dependent("child", finalizers=["litefleet.dev/hold"])
    process = await cluster.start("delete", "mro", "digits-line-a", "--cascade=foreground", "--timeout=30s")
    await marked(cluster, "digits-line-a")
    shown = await cluster.kubectl("get", "mro", "digits-line-a", "-o", "jsonpath={.metadata.finalizers}")
    assert json.loads(shown.out) == ["foregroundDeletion"]
    assert process.returncode is None
    await cluster.kubectl("patch", "mro", "child", "--type=merge", "-p", RELEASE)
    _, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, err
    assert await left(cluster) == []


async def test_a_background_deletion_leaves_a_held_dependent_marked(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.create_dependent("child", finalizers=["litefleet.dev/hold"])
    await cluster.kubectl("delete", "mro", "digits-line-a")
    assert await left(cluster) == ["child"]
    await marked(cluster, "child")


async def test_without_waiting_a_held_object_stays_until_released(cluster: Cluster) -> None:
    await cluster.applied()
    await cluster.kubectl(
        "patch", "mro", "digits-line-a", "--type=merge", "-p", RELEASE.replace("null", '["litefleet.dev/hold"]')
    )
    await cluster.kubectl("delete", "mro", "digits-line-a", "--wait=false")
    again = await cluster.kubectl("create", "-f", cluster.manifest(), code=1)
    assert "object is being deleted" in again.err
    await cluster.kubectl("patch", "mro", "digits-line-a", "--type=merge", "-p", RELEASE)
    assert await left(cluster) == []


async def test_dry_run_and_grace_and_force(cluster: Cluster) -> None:
    await cluster.applied()
    result = await cluster.kubectl("delete", "mro", "digits-line-a", "--dry-run=server")
    assert "(server dry run)" in result.out
    assert (await cluster.objects.get(ROLLOUT)).generation == 1
    await cluster.kubectl("delete", "mro", "digits-line-a", "--grace-period=30")
    assert await left(cluster) == []
    await cluster.applied()
    await cluster.kubectl("delete", "mro", "digits-line-a", "--grace-period=0", "--force")
    assert await left(cluster) == []


async def test_all_of_a_kind_by_field_and_of_a_category(cluster: Cluster) -> None:
    for name in ("a", "b", "c"):
        await cluster.objects.create({**MANIFEST, "metadata": {"name": name}})
    await cluster.kubectl("delete", "mro", "--field-selector=metadata.name=a")
    assert await left(cluster) == ["b", "c"]
    await cluster.kubectl("delete", "litefleet", "--all")
    assert await left(cluster) == []


async def test_replace_by_force_makes_another_object(cluster: Cluster) -> None:
    path = await cluster.applied()
    before = await cluster.objects.get(ROLLOUT)
    await cluster.kubectl("replace", "--force", "-f", path)
    assert (await cluster.objects.get(ROLLOUT)).uid != before.uid


async def test_what_is_not_there(cluster: Cluster) -> None:
    gone = await cluster.kubectl("delete", "mro", "nope", code=1)
    assert '"nope" not found' in gone.err
    await cluster.kubectl("delete", "mro", "nope", "--ignore-not-found")
