"""Server-side apply and managedFields through the store: with defaults, admission, versions and the database."""

import pytest

from litefleet_controller.resources.causes import InvalidError
from litefleet_controller.store.errors import (
    ApplyConflictError,
    ConflictError,
    NamespaceNotFoundError,
    NotFoundError,
)
from litefleet_controller.store.interface import Deletion, Key, Patch

KEY = Key("ModelRollout", "default", "digits")


def managers(record):
    return [
        (e["manager"], e["operation"], e.get("subresource", "")) for e in record.json()["metadata"]["managedFields"]
    ]


@pytest.fixture
def applied(objects, rollout):
    async def apply(manager="me", *, force=False, subresource="", dry_run=False, name="digits", **spec):
        body = rollout(name, namespace="default")
        if subresource:
            body["status"] = spec
        else:
            body["spec"] |= spec
        key = Key("ModelRollout", "default", name)
        return await objects.apply(key, body, manager=manager, force=force, subresource=subresource, dry_run=dry_run)

    return apply


async def test_apply_creates_what_is_missing_with_defaults_that_nobody_owns(applied):
    result = await applied()
    body = result.record.json()
    assert result.created
    assert body["spec"]["paused"] is False
    assert body["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "litefleet.dev/v1alpha1",
            "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:modelRef": {"f:name": {}}}},
        }
    ]


async def test_the_same_apply_makes_no_new_version(applied, clock):
    first = await applied(paused=True)
    clock.advance(60)
    again = await applied(paused=True)
    assert not again.created
    assert again.record.body == first.record.body


async def test_a_field_that_is_left_out_falls_back_to_its_default(applied):
    await applied(paused=True)
    after = (await applied()).record
    assert after.json()["spec"]["paused"] is False
    assert after.generation == 2


async def test_a_conflict_stores_nothing(applied, objects):
    before = (await applied(paused=True)).record
    with pytest.raises(ApplyConflictError) as caught:
        await applied("ci", paused=False)
    assert [(c.manager, c.field) for c in caught.value.conflicts] == [('"me"', ".spec.paused")]
    assert (await objects.get(KEY)).body == before.body


async def test_a_dry_run_stores_nothing(applied, objects):
    assert (await applied(dry_run=True)).created
    with pytest.raises(NotFoundError):
        await objects.get(KEY)


async def test_a_status_is_applied_through_its_door_alone(applied, objects):
    with pytest.raises(NotFoundError):
        await applied("controller", subresource="status", phase="Paused")
    await applied()
    record = (await applied("controller", subresource="status", phase="Paused")).record
    assert record.json()["status"]["phase"] == "Paused"
    assert managers(record) == [("controller", "Apply", "status"), ("me", "Apply", "")]


async def test_a_missing_namespace_is_named(objects, rollout):
    key = Key("ModelRollout", "nope", "digits")
    with pytest.raises(NamespaceNotFoundError):
        await objects.apply(key, rollout(namespace="nope"), manager="me")


async def test_a_stale_version_is_a_conflict_and_one_of_a_missing_object_is_not(objects, rollout):
    body = rollout(namespace="default", resourceVersion="5")
    record = (await objects.apply(KEY, body, manager="me")).record
    stale = rollout(namespace="default", resourceVersion=str(record.resource_version - 1))
    with pytest.raises(ConflictError):
        await objects.apply(KEY, stale, manager="me")


async def test_what_is_applied_is_admitted(applied):
    with pytest.raises(InvalidError) as caught:
        await applied(deviceTimeoutSeconds=0)
    assert [c.field for c in caught.value.causes] == ["spec.deviceTimeoutSeconds"]


async def test_a_value_of_another_type_is_refused_with_its_field(applied):
    with pytest.raises(InvalidError) as caught:
        await applied(modelRef="digits")
    assert "spec.modelRef" in [c.field for c in caught.value.causes]


async def test_writes_are_their_managers(objects, rollout):
    await objects.create(rollout(), manager="maker")
    await objects.patch(KEY, Patch("merge", {"spec": {"paused": True}}), manager="patcher")
    await objects.patch(KEY, Patch("merge", {"status": {"phase": "Paused"}}), subresource="status", manager="c")
    body = (await objects.get(KEY)).json()
    body["spec"]["onFailure"] = "Pause"
    record = await objects.replace(KEY, body, manager="putter")
    assert managers(record) == [
        ("c", "Update", "status"),
        ("maker", "Update", ""),
        ("patcher", "Update", ""),
        ("putter", "Update", ""),
    ]


async def test_a_patch_of_nothing_moves_no_manager(objects, rollout, clock):
    before = await objects.create(rollout(), manager="maker")
    clock.advance(60)
    assert (await objects.patch(KEY, Patch("merge", {}), manager="other")).body == before.body


async def test_a_put_without_managed_fields_keeps_them(objects, rollout):
    before = await objects.create(rollout(), manager="maker")
    body = {**rollout(resourceVersion=str(before.resource_version)), "spec": before.json()["spec"]}
    assert managers(await objects.replace(KEY, body, manager="other")) == [("maker", "Update", "")]


async def test_one_empty_entry_ends_tracking_until_someone_applies(applied, objects):
    await applied(paused=True)
    reset = await objects.patch(KEY, Patch("merge", {"metadata": {"managedFields": [{}]}}), manager="x")
    assert "managedFields" not in reset.json()["metadata"]
    await objects.patch(KEY, Patch("merge", {"spec": {"onFailure": "Pause"}}), manager="x")
    with pytest.raises(ApplyConflictError) as caught:
        await applied(paused=False)
    assert caught.value.conflicts[0].manager == '"before-first-apply" using litefleet.dev/v1alpha1'


async def test_status_writes_of_our_own_have_one_entry(objects, rollout):
    await objects.create(rollout())
    for phase in ("Paused", "Healthy"):
        await objects.mutate(KEY, lambda b, p=phase: {**b, "status": {"phase": p}}, subresource="status")
    assert managers(await objects.get(KEY)) == [("litefleet", "Update", ""), ("litefleet", "Update", "status")]


async def test_an_owner_that_is_gone_is_owned_by_nobody(objects, rollout):
    owner = await objects.create(rollout("owner"))
    reference = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "ModelRollout", "name": "owner", "uid": owner.uid}
    child = await objects.create(rollout("child", ownerReferences=[reference]))
    assert isinstance(await objects.delete(owner.key, propagation="Orphan"), Deletion)
    metadata = (await objects.get(child.key)).json()["metadata"]
    assert "f:ownerReferences" not in str(metadata["managedFields"])
