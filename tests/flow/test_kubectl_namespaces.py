"""The real kubectl with namespaces, events of its own, and `scale` on a kind that has replicas."""

import asyncio
import json

from litefleet_controller.store.interface import Query
from tests.flow.conftest import MANIFEST, Cluster


async def test_a_namespace_is_made_labelled_and_deleted_with_all_that_is_in_it(cluster: Cluster) -> None:
    await cluster.kubectl("create", "namespace", "line-a")
    assert (await cluster.kubectl("label", "ns", "line-a", "site=a")).out == "namespace/line-a labeled\n"
    assert (await cluster.kubectl("get", "ns", "-l", "site=a", "-o", "name")).out == "namespace/line-a\n"
    await cluster.kubectl("apply", "-n", "line-a", "-f", cluster.manifest())
    assert "line-a" in (await cluster.kubectl("describe", "ns", "line-a")).out
    result = await cluster.kubectl("delete", "namespace", "line-a", "--timeout=30s")
    assert result.out.startswith('namespace "line-a" deleted')
    assert "NotFound" in (await cluster.kubectl("get", "ns", "line-a", code=1)).err
    assert list((await cluster.objects.list(Query("ModelRollout"))).records) == []


async def test_deleting_one_waits_for_what_holds_it(cluster: Cluster) -> None:
    await cluster.kubectl("create", "namespace", "line-a")
    held = {
        **MANIFEST,
        "metadata": {**MANIFEST["metadata"], "namespace": "line-a", "finalizers": ["litefleet.dev/hold"]},
    }
    await cluster.objects.create(held)
    process = await cluster.start("delete", "namespace", "line-a", "--timeout=30s")
    async with asyncio.timeout(20):
        while "Terminating" not in (await cluster.kubectl("get", "ns", "line-a")).out:
            await asyncio.sleep(0.02)
    told = json.loads((await cluster.kubectl("get", "ns", "line-a", "-o", "json")).out)["status"]["conditions"]
    assert any("litefleet.dev/hold in 1" in condition["message"] for condition in told)
    refused = await cluster.kubectl(
        "apply", "-n", "line-a", "-f", cluster.manifest(lambda m: m["metadata"].update(name="b")), code=1
    )
    assert "because it is being terminated" in refused.err
    release = '{"metadata":{"finalizers":null}}'
    await cluster.kubectl("patch", "mro", "digits-line-a", "-n", "line-a", "--type=merge", "-p", release)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out.startswith(b'namespace "line-a" deleted')) == (0, True), err
