"""Background garbage collection of dependents."""

import asyncio
from contextlib import aclosing

import pytest

from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import Patch, Query


def owned_by(*owners):
    return [
        {"apiVersion": "litefleet.dev/v1alpha1", "kind": o.key.kind, "name": o.key.name, "uid": o.uid} for o in owners
    ]


async def names(objects):
    return [r.key.name for r in (await objects.list(Query("ModelRollout"))).records]


async def test_dependents_go_with_their_owner(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=owned_by(owner)))
    await objects.create(rollout("grandchild", ownerReferences=owned_by(child)))
    await objects.create(rollout("bystander"))
    await objects.delete(owner.key)
    assert await names(objects) == ["bystander"]


async def test_a_dependent_of_two_owners_goes_with_the_last(objects, rollout):
    one, two = await objects.create(rollout("one")), await objects.create(rollout("two"))
    child = await objects.create(rollout("child", ownerReferences=owned_by(one, two)))
    await objects.delete(one.key)
    assert [o["name"] for o in (await objects.get(child.key)).json()["metadata"]["ownerReferences"]] == ["two"]
    await objects.delete(two.key)
    assert await names(objects) == []


async def test_a_dependent_with_a_finalizer_is_marked(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=owned_by(owner), finalizers=["litefleet.dev/hold"]))
    await objects.delete(owner.key)
    assert "deletionTimestamp" in (await objects.get(child.key)).json()["metadata"]
    await objects.patch(child.key, Patch("merge", {"metadata": {"finalizers": None}}))
    assert await names(objects) == []


async def test_an_owner_held_by_a_finalizer_keeps_its_dependents(objects, rollout):
    owner = await objects.create(rollout("owner", finalizers=["litefleet.dev/hold"]))
    await objects.create(rollout("child", ownerReferences=owned_by(owner)))
    await objects.delete(owner.key)
    assert await names(objects) == ["child", "owner"]
    await objects.patch(owner.key, Patch("merge", {"metadata": {"finalizers": None}}))
    assert await names(objects) == []


async def test_an_object_whose_owner_never_was_is_collected(objects, rollout):
    reference = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "Model", "name": "never", "uid": "never"}
    record = await objects.create(rollout("orphan", ownerReferences=[reference]))
    with pytest.raises(NotFoundError):
        await objects.get(record.key)


async def test_a_ring_of_owners_goes_as_a_whole(objects, rollout):
    a = await objects.create(rollout("a"))
    b = await objects.create(rollout("b", ownerReferences=owned_by(a)))
    await objects.patch(a.key, Patch("merge", {"metadata": {"ownerReferences": owned_by(b)}}))
    await objects.delete(a.key)
    assert await names(objects) == []


async def test_a_long_chain_of_owners_goes_without_recursion(objects, rollout):
    owner = first = await objects.create(rollout("n0"))
    for i in range(1, 150):
        owner = await objects.create(rollout(f"n{i}", ownerReferences=owned_by(owner)))
    await objects.delete(first.key)
    assert await names(objects) == []


async def test_the_watch_tells_of_each_dependent(objects, rollout):
    owner = await objects.create(rollout("owner"))
    await objects.create(rollout("child", ownerReferences=owned_by(owner)))
    async with aclosing(objects.watch(Query("ModelRollout"), None)) as watch:
        await objects.delete(owner.key)
        async with asyncio.timeout(10):
            events = [await anext(watch) for _ in range(2)]
    assert [(e.type.value, e.record.key.name) for e in events] == [("DELETED", "owner"), ("DELETED", "child")]


def blocking(*owners):
    return [{**o, "blockOwnerDeletion": True} for o in owned_by(*owners)]


async def metadata(objects, record):
    return (await objects.get(record.key)).json()["metadata"]


async def test_foreground_takes_blocking_dependents_first(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner)))
    await objects.create(rollout("grandchild", ownerReferences=blocking(child)))
    watcher = objects.watch(Query("ModelRollout"), owner.resource_version + 2)
    deletion = await objects.delete(owner.key, propagation="Foreground")
    assert deletion.gone is False
    assert deletion.record.json()["metadata"]["finalizers"] == ["foregroundDeletion"]
    order = []
    async with aclosing(watcher), asyncio.timeout(5):
        while len(order) < 3:
            event = await anext(watcher)
            if event.type == "DELETED":
                order.append(event.record.key.name)
    assert order == ["grandchild", "child", "owner"]
    assert await names(objects) == []


async def test_foreground_waits_for_a_dependent_that_a_finalizer_holds(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner), finalizers=["litefleet.dev/x"]))
    await objects.delete(owner.key, propagation="Foreground")
    assert (await metadata(objects, owner))["finalizers"] == ["foregroundDeletion"]
    assert "deletionTimestamp" in await metadata(objects, child)
    await objects.patch(child.key, Patch("merge", {"metadata": {"finalizers": None}}))
    assert await names(objects) == []


async def test_foreground_does_not_wait_for_a_dependent_that_does_not_block(objects, rollout):
    owner = await objects.create(rollout("owner"))
    await objects.create(rollout("child", ownerReferences=owned_by(owner), finalizers=["litefleet.dev/x"]))
    await objects.delete(owner.key, propagation="Foreground")
    assert await names(objects) == ["child"]


async def test_foreground_only_loses_the_reference_where_another_owner_stays(objects, rollout):
    owner, other = await objects.create(rollout("owner")), await objects.create(rollout("other"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner, other)))
    await objects.delete(owner.key, propagation="Foreground")
    assert await names(objects) == ["child", "other"]
    assert [o["name"] for o in (await metadata(objects, child))["ownerReferences"]] == ["other"]


async def test_foreground_goes_on_when_a_dependent_stops_blocking(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner), finalizers=["litefleet.dev/x"]))
    await objects.delete(owner.key, propagation="Foreground")
    await objects.patch(child.key, Patch("merge", {"metadata": {"ownerReferences": owned_by(owner)}}))
    assert await names(objects) == ["child"]


async def test_foreground_breaks_a_circle_of_owners(objects, rollout):
    first = await objects.create(rollout("first"))
    second = await objects.create(rollout("second", ownerReferences=blocking(first)))
    await objects.patch(first.key, Patch("merge", {"metadata": {"ownerReferences": blocking(second)}}))
    await objects.delete(first.key, propagation="Foreground")
    assert await names(objects) == []


async def test_foreground_follows_a_long_chain_of_owners(objects, rollout):
    owner = await objects.create(rollout("r0"))
    last = owner
    for number in range(1, 60):
        last = await objects.create(rollout(f"r{number}", ownerReferences=blocking(last)))
    await objects.delete(owner.key, propagation="Foreground")
    assert await names(objects) == []


async def test_a_dependent_made_while_its_owner_waits_goes_too(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner), finalizers=["litefleet.dev/x"]))
    await objects.delete(owner.key, propagation="Foreground")
    await objects.create(rollout("late", ownerReferences=blocking(owner)))
    assert await names(objects) == ["child", "owner"]
    await objects.patch(child.key, Patch("merge", {"metadata": {"finalizers": None}}))
    assert await names(objects) == []


async def test_orphan_sets_dependents_free(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner)))
    deletion = await objects.delete(owner.key, propagation="Orphan")
    assert deletion.record.json()["metadata"]["finalizers"] == ["orphan"]
    assert await names(objects) == ["child"]
    assert "ownerReferences" not in await metadata(objects, child)


async def test_a_second_delete_may_choose_another_propagation(objects, rollout):
    owner = await objects.create(rollout("owner"))
    child = await objects.create(rollout("child", ownerReferences=blocking(owner), finalizers=["litefleet.dev/x"]))
    await objects.delete(owner.key, propagation="Foreground")
    await objects.delete(owner.key, propagation="Background")
    assert await names(objects) == ["child"]
    assert "deletionTimestamp" in await metadata(objects, child)


async def test_the_collector_s_finalizer_set_beforehand_decides_a_delete_without_propagation(objects, rollout):
    owner = await objects.create(rollout("owner", finalizers=["orphan"]))
    await objects.create(rollout("child", ownerReferences=blocking(owner)))
    await objects.delete(owner.key)
    assert await names(objects) == ["child"]


async def test_a_dry_run_of_a_foreground_deletion_leaves_everything(objects, rollout):
    owner = await objects.create(rollout("owner"))
    assert (await objects.delete(owner.key, propagation="Foreground", dry_run=True)).gone is False
    assert await objects.get(owner.key) == owner
