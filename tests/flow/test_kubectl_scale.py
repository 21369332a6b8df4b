"""The real kubectl scales a kind that has replicas, and waits for them."""

import json

import pytest

from litefleet_controller.resources.crd import kind_from_crd
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.interface import Key
from tests.flow.conftest import Cluster
from tests.gadgets import CRD


@pytest.fixture
def registry() -> Registry:
    return Registry((kind_from_crd(CRD),))


async def test_scale_changes_the_replicas_and_minds_the_current_ones(cluster: Cluster) -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"replicas": 2}}
    await cluster.objects.create(body)
    result = await cluster.kubectl("scale", "gadget", "g", "--replicas=3")
    assert result.out == "gadget.example.com/g scaled\n"
    refused = await cluster.kubectl("scale", "gadget/g", "--current-replicas=7", "--replicas=4", code=1)
    assert "Expected replicas to be 7, was 3" in refused.err
    scale = json.loads((await cluster.kubectl("get", "gadget", "g", "--subresource=scale", "-o", "json")).out)
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 3})
    assert (await cluster.objects.get(Key("Gadget", "default", "g"))).json()["spec"] == {"replicas": 3}
