"""A device that is gone loses its assignments and its place at the broker, unless its name was given anew."""

import pytest

from litefleet_controller.reconcile.devices import DeviceReconciler
from litefleet_controller.reconcile.interface import Request
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.store.interface import Assignment, AssignmentBatch, Key
from tests.controller.reconcile.conftest import World

GONE = Request("default", "pi-1")


@pytest.fixture
def forgotten() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def reconciler(world: World, forgotten: list[tuple[str, str]]) -> DeviceReconciler:
    """For a board that has an assignment."""
    lease = await world.leases.acquire("me", world.clock(), 15)
    assert lease is not None
    assignment = Assignment(
        namespace="default", device="pi-1", slot="digits", version="digits-v1", artifact="sha256:1", fallback=None,
        rollout="digits", probation_s=10.0, deadline_s=60.0, max_latency_ms=None, max_memory_bytes=None,
        assigned_at=world.clock(),
    )  # fmt: skip
    await world.create("Device", "pi-1", {"class": "rpi-4"})
    await world.assignments.commit(AssignmentBatch(set=[assignment]), epoch=lease.epoch)

    async def forget(namespace: str, device: str) -> None:
        forgotten.append((namespace, device))

    return DeviceReconciler(world.objects, world.assignments, lease.epoch, forget)


async def test_a_device_that_is_there_keeps_all(
    world: World, reconciler: DeviceReconciler, forgotten: list[tuple[str, str]]
) -> None:
    await reconciler.reconcile(GONE)
    assert len((await world.assignments.of_device("default", "pi-1"))[1]) == 1
    assert forgotten == []


async def test_one_that_is_gone_is_unassigned_and_forgotten(
    world: World, reconciler: DeviceReconciler, forgotten: list[tuple[str, str]]
) -> None:
    await world.objects.delete(Key("Device", "default", "pi-1"))
    await reconciler.reconcile(GONE)
    assert (await world.assignments.of_device("default", "pi-1"))[1] == []
    assert forgotten == [("default", "pi-1")]


async def test_one_that_joined_another_namespace_keeps_its_place_at_the_broker(
    world: World, reconciler: DeviceReconciler, forgotten: list[tuple[str, str]]
) -> None:
    await world.objects.delete(Key("Device", "default", "pi-1"))
    await world.objects.create(manifest("other"))
    await world.create("Device", "pi-1", {"class": "rpi-4"}, namespace="other")
    await reconciler.reconcile(GONE)
    assert (await world.assignments.of_device("default", "pi-1"))[1] == []
    assert forgotten == []
