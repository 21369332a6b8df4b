"""Any change of what a model is makes a new version; nothing else does."""

import pytest

from litefleet_controller.reconcile.interface import Request, Result
from litefleet_controller.reconcile.models import ModelReconciler
from litefleet_controller.store.interface import Key, Patch, Query
from tests.controller.reconcile.conftest import World

MODEL = Key("Model", "default", "digits")
REQUEST = Request("default", "digits")


@pytest.fixture
def reconciler(world: World) -> ModelReconciler:
    return ModelReconciler(world.objects, world.blobs, world.clock)


async def versions(world: World) -> list[str]:
    return [r.key.name for r in (await world.objects.list(Query("ModelVersion"))).records]


async def change(world: World, spec: dict[str, object]) -> None:
    await world.objects.patch(MODEL, Patch("merge", {"spec": spec}))


async def test_a_model_gets_its_first_version(world: World, reconciler: ModelReconciler) -> None:
    record = await world.model(output={"labels": ["a", "b"]})
    assert await reconciler.reconcile(REQUEST) == Result()
    version = (await world.objects.get(Key("ModelVersion", "default", "digits-v1"))).json()
    assert version["spec"]["version"] == 1
    assert version["spec"]["output"]["labels"] == ["a", "b"]
    assert version["metadata"]["ownerReferences"][0]["uid"] == record.uid
    status = await world.status("Model", "digits")
    assert status["latestVersion"] == {"name": "digits-v1", "number": 1}
    assert status["conditions"][0]["status"] == "True"
    assert status["observedGeneration"] == 1


async def test_reconciling_again_changes_nothing(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    before = await world.objects.resource_version()
    world.clock.forward(60)
    await reconciler.reconcile(REQUEST)
    assert await world.objects.resource_version() == before


@pytest.mark.parametrize(
    "spec",
    [
        {"output": {"labels": ["other"]}},
        {"input": {"preprocess": {"scale": 0.5}}},
        {"calibration": {"samples": 7}},
        {"calibration": None},
    ],
)
async def test_a_change_makes_the_next_version(
    world: World, reconciler: ModelReconciler, spec: dict[str, object]
) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    await change(world, spec)
    await reconciler.reconcile(REQUEST)
    assert await versions(world) == ["digits-v1", "digits-v2"]


async def test_labels_make_no_version(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    await world.objects.patch(MODEL, Patch("merge", {"metadata": {"labels": {"team": "a"}}}))
    await reconciler.reconcile(REQUEST)
    assert await versions(world) == ["digits-v1"]


async def test_going_back_to_an_older_spec_is_a_new_version(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    for scale in (0.5, 1.0):
        await change(world, {"input": {"preprocess": {"scale": scale}}})
        await reconciler.reconcile(REQUEST)
    assert await versions(world) == ["digits-v1", "digits-v2", "digits-v3"]


async def test_a_kill_between_create_and_status_is_repaired(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    await world.set_status("Model", "digits", {})
    await reconciler.reconcile(REQUEST)
    assert await versions(world) == ["digits-v1"]
    assert (await world.status("Model", "digits"))["latestVersion"]["name"] == "digits-v1"


async def test_a_file_that_was_not_pushed_is_named_and_waited_for(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    absent = f"blob://sha256:{'0' * 64}"
    await change(world, {"evaluation": {"uri": absent}})
    result = await reconciler.reconcile(REQUEST)
    assert result.requeue_after_s
    condition = (await world.status("Model", "digits"))["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "NotFound")
    assert "spec.evaluation.uri" in condition["message"]
    assert "litefleet model push" in condition["message"]
    assert await versions(world) == []


async def test_a_digest_that_names_another_file_is_refused(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await change(world, {"source": {"digest": f"sha256:{'1' * 64}"}})
    assert await reconciler.reconcile(REQUEST) == Result()
    condition = (await world.status("Model", "digits"))["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "DigestMismatch")
    assert "spec.source.digest" in condition["message"]
    assert await versions(world) == []


async def test_a_name_too_long_for_its_versions_is_said(world: World, reconciler: ModelReconciler) -> None:
    name = "m" * 62
    await world.model(name)
    await reconciler.reconcile(Request("default", name))
    assert (await world.status("Model", name))["conditions"][0]["reason"] == "InvalidName"


async def test_a_model_that_is_gone_is_nothing_to_do(reconciler: ModelReconciler) -> None:
    assert await reconciler.reconcile(REQUEST) == Result()


async def test_a_model_that_is_being_deleted_makes_no_versions(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await world.objects.patch(MODEL, Patch("merge", {"metadata": {"finalizers": ["example.com/held"]}}))
    await world.objects.delete(MODEL)
    await reconciler.reconcile(REQUEST)
    assert await versions(world) == []


async def test_a_number_is_not_given_twice(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await reconciler.reconcile(REQUEST)
    await world.objects.delete(Key("ModelVersion", "default", "digits-v1"))
    await change(world, {"input": {"preprocess": {"scale": 0.5}}})
    await reconciler.reconcile(REQUEST)
    assert await versions(world) == ["digits-v2"]
