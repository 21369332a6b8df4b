"""The Python clients that people script clusters with: the official one, and lightkube."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import kubernetes
import lightkube
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.types import CascadeType, PatchType

from tests.flow.conftest import MANIFEST, ROLLOUT, Cluster

GROUP, VERSION, PLURAL = "litefleet.dev", "v1alpha1", "modelrollouts"
WHERE = (GROUP, VERSION, "default", PLURAL)
Rollout = create_namespaced_resource(GROUP, VERSION, "ModelRollout", PLURAL)


@pytest.fixture
async def official(cluster: Cluster) -> AsyncIterator[kubernetes.client.ApiClient]:
    """Configured by the kubeconfig, as a script would be."""
    client = await asyncio.to_thread(kubernetes.config.new_client_from_config, str(cluster.home / "ada"))
    yield client
    client.rest_client.pool_manager.clear()
    await asyncio.to_thread(client.close)


@pytest.fixture
def custom(official: kubernetes.client.ApiClient) -> kubernetes.client.CustomObjectsApi:
    return kubernetes.client.CustomObjectsApi(official)


@pytest.fixture
def light(cluster: Cluster) -> Iterator[lightkube.Client]:
    config = lightkube.KubeConfig.from_file(str(cluster.home / "ada"))
    client = lightkube.Client(config=config, field_manager="script")
    yield client
    client._client._client.close()


async def test_custom_objects_from_creation_to_deletion(custom: kubernetes.client.CustomObjectsApi) -> None:
    def script() -> None:
        made = custom.create_namespaced_custom_object(*WHERE, MANIFEST)
        assert made["metadata"]["generation"] == 1
        listed = custom.list_namespaced_custom_object(*WHERE, label_selector="site=a", limit=5)
        assert [i["metadata"]["name"] for i in listed["items"]] == ["digits-line-a"]
        patched = custom.patch_namespaced_custom_object(*WHERE, "digits-line-a", {"spec": {"paused": True}})
        assert patched["spec"]["paused"] is True
        status = {"status": {"phase": "Paused"}}
        custom.patch_namespaced_custom_object_status(*WHERE, "digits-line-a", status)
        assert custom.get_namespaced_custom_object_status(*WHERE, "digits-line-a")["status"] == {"phase": "Paused"}
        deleted = custom.delete_namespaced_custom_object(*WHERE, "digits-line-a", propagation_policy="Foreground")
        assert deleted["metadata"]["finalizers"] == ["foregroundDeletion"]

    await asyncio.to_thread(script)


async def test_a_stale_replacement_and_a_missing_object_are_exceptions(
    custom: kubernetes.client.CustomObjectsApi,
) -> None:
    def script() -> None:
        made = custom.create_namespaced_custom_object(*WHERE, MANIFEST)
        made["spec"]["paused"] = True
        custom.replace_namespaced_custom_object(*WHERE, "digits-line-a", made)
        with pytest.raises(ApiException) as stale:
            custom.replace_namespaced_custom_object(*WHERE, "digits-line-a", made)
        assert (stale.value.status, stale.value.reason) == (409, "Conflict")
        with pytest.raises(ApiException) as missing:
            custom.get_namespaced_custom_object(*WHERE, "nope")
        assert missing.value.status == 404

    await asyncio.to_thread(script)


async def test_the_dynamic_client_discovers_the_kinds(cluster: Cluster, official: kubernetes.client.ApiClient) -> None:
    def script() -> None:
        client = DynamicClient(official, cache_file=str(cluster.home / "discovery.json"))
        rollouts = client.resources.get(api_version=f"{GROUP}/{VERSION}", kind="ModelRollout")
        rollouts.create(body=MANIFEST, namespace="default")
        found = rollouts.get(name="digits-line-a", namespace="default")
        assert found.spec.modelRef.name == "digits"
        with pytest.raises(ConflictError):
            rollouts.create(body=MANIFEST, namespace="default")
        rollouts.status.patch(
            name="digits-line-a",
            namespace="default",
            body={"status": {"phase": "Healthy"}},
            content_type="application/merge-patch+json",
        )
        assert rollouts.get(namespace="default").items[0].status.phase == "Healthy"
        rollouts.delete(name="digits-line-a", namespace="default")
        with pytest.raises(NotFoundError):
            rollouts.get(name="digits-line-a", namespace="default")

    await asyncio.to_thread(script)


async def test_the_official_watch_sees_what_happens(
    cluster: Cluster, custom: kubernetes.client.CustomObjectsApi
) -> None:
    watch = kubernetes.watch.Watch()
    began = threading.Event()

    def script() -> list[tuple[str, Any]]:
        version = custom.list_namespaced_custom_object(*WHERE)["metadata"]["resourceVersion"]
        stream = watch.stream(
            custom.list_namespaced_custom_object, *WHERE, resource_version=version, timeout_seconds=20
        )
        began.set()
        seen = []
        for event in stream:
            seen.append((event["type"], event["object"]["spec"].get("paused")))
            if event["type"] == "DELETED":
                watch.stop()
        return seen

    reading = asyncio.create_task(asyncio.to_thread(script))
    await asyncio.to_thread(began.wait, 20)
    await cluster.objects.create(MANIFEST)
    await cluster.objects.mutate(ROLLOUT, lambda body: {**body, "spec": {**body["spec"], "paused": True}})
    await cluster.objects.delete(ROLLOUT)
    assert await reading == [("ADDED", False), ("MODIFIED", True), ("DELETED", True)]


async def test_the_official_client_asks_who_it_is_and_what_it_may(official: kubernetes.client.ApiClient) -> None:
    def script() -> None:
        review = kubernetes.client.AuthenticationV1Api(official).create_self_subject_review({})
        assert review.status.user_info.username == "ada"
        attributes = {"verb": "delete", "group": GROUP, "resource": PLURAL, "namespace": "default"}
        body = {"spec": {"resourceAttributes": attributes}}
        answer = kubernetes.client.AuthorizationV1Api(official).create_self_subject_access_review(body)
        assert answer.status.allowed is True

    await asyncio.to_thread(script)


async def test_lightkube_from_creation_to_deletion(light: lightkube.Client) -> None:
    def script() -> None:
        wish = Rollout(metadata=ObjectMeta(name="digits-line-a", namespace="default"), spec=MANIFEST["spec"])
        assert light.create(wish).metadata.generation == 1
        light.patch(Rollout, "digits-line-a", {"spec": {"paused": True}}, patch_type=PatchType.MERGE)
        assert light.get(Rollout, "digits-line-a").spec["paused"] is True
        assert [r.metadata.name for r in light.list(Rollout, chunk_size=1)] == ["digits-line-a"]
        light.delete(Rollout, "digits-line-a", cascade=CascadeType.FOREGROUND)
        with pytest.raises(ApiError) as gone:
            light.get(Rollout, "digits-line-a")
        assert (gone.value.status.code, gone.value.status.reason) == (404, "NotFound")

    await asyncio.to_thread(script)


async def test_lightkube_reads_a_list_in_pages(cluster: Cluster, light: lightkube.Client) -> None:
    for number in range(5):
        await cluster.objects.create({**MANIFEST, "metadata": {"name": f"r{number}"}})
    names = await asyncio.to_thread(lambda: [r.metadata.name for r in light.list(Rollout, chunk_size=2)])
    assert names == [f"r{number}" for number in range(5)]


async def test_lightkube_waits_for_a_condition(cluster: Cluster, light: lightkube.Client) -> None:
    await cluster.objects.create(MANIFEST)
    waiting = asyncio.create_task(
        asyncio.to_thread(lambda: light.wait(Rollout, "digits-line-a", for_conditions=["Healthy"]))
    )
    condition = {
        "type": "Healthy", "status": "True", "reason": "Complete", "lastTransitionTime": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    await cluster.status({"observedGeneration": 1, "conditions": [condition]})
    assert (await asyncio.wait_for(waiting, 30)).metadata.name == "digits-line-a"
