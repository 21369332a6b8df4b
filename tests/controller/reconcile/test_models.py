"""Any change of what a model is makes a new version; nothing else does."""

import asyncio
import hashlib

import pytest

from litefleet_controller.reconcile.interface import Request, Result
from litefleet_controller.reconcile.models import ModelReconciler
from litefleet_controller.resources.admission import InvalidError
from litefleet_controller.store.interface import Key, Patch, Query
from tests.controller.reconcile.conftest import World

MODEL = Key("Model", "default", "digits")
REQUEST = Request("default", "digits")


@pytest.fixture
def reconciler(world: World) -> ModelReconciler:
    return ModelReconciler(world.objects, world.blobs, world.fetches, world.clock)


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


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
        {"training": {"uri": f"blob://sha256:{hashlib.sha256(b'digits calibration').hexdigest()}", "epochs": 3}},
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


# --- files that are fetched --------------------------------------------------------------------------------------


async def on_the_shelf(world: World, content: bytes = b"fetched") -> str:
    """The URI of a file that the controller may read."""
    (world.shelf / "m.keras").write_bytes(content)
    return f"file://{world.shelf}/m.keras"


async def settle(world: World, reconciler: ModelReconciler) -> dict[str, object]:
    """Reconcile until nothing is under way; the condition."""
    for _ in range(200):
        result = await reconciler.reconcile(REQUEST)
        status = await world.status("Model", "digits")
        if all(f["state"] != "Fetching" for f in status["files"]):
            return status["conditions"][0] | {"again": result.requeue_after_s}
        assert result.requeue_after_s
        await asyncio.sleep(0.01)
    raise AssertionError("it is still being fetched")


async def source_of(world: World, version: str) -> dict[str, object]:
    spec: dict[str, dict[str, object]] = (await world.objects.get(Key("ModelVersion", "default", version))).json()[
        "spec"
    ]
    return spec["source"]


async def test_a_version_has_the_digest_of_what_was_fetched(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    uri = await on_the_shelf(world)
    await change(world, {"source": {"uri": uri}})
    condition = await settle(world, reconciler)
    assert (condition["status"], condition["again"]) == ("True", None)
    source = await source_of(world, "digits-v1")
    assert (source["uri"], source["digest"]) == (uri, sha(b"fetched"))
    assert await world.blobs.get(sha(b"fetched")) == b"fetched"
    (seen, *_) = (await world.status("Model", "digits"))["files"]
    assert (seen["field"], seen["digest"], seen["sizeBytes"]) == ("spec.source", sha(b"fetched"), 7)


async def test_what_changes_behind_a_uri_changes_no_version(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await change(world, {"source": {"uri": await on_the_shelf(world)}})
    await settle(world, reconciler)
    await on_the_shelf(world, b"changed")
    await settle(world, reconciler)
    assert await versions(world) == ["digits-v1"]
    await world.blobs.delete(sha(b"fetched"))
    condition = await settle(world, reconciler)
    assert condition["reason"] == "DigestMismatch"
    assert sha(b"fetched") in str(condition["message"])
    assert await versions(world) == ["digits-v1"]


async def test_the_next_version_looks_again(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await change(world, {"source": {"uri": await on_the_shelf(world)}})
    await settle(world, reconciler)
    await on_the_shelf(world, b"changed")
    await change(world, {"output": {"labels": ["other"]}})
    await settle(world, reconciler)
    assert (await source_of(world, "digits-v2"))["digest"] == sha(b"changed")


async def test_writing_down_the_digest_that_was_found_makes_no_version(
    world: World, reconciler: ModelReconciler
) -> None:
    await world.model()
    await change(world, {"source": {"uri": await on_the_shelf(world)}})
    await settle(world, reconciler)
    await change(world, {"source": {"digest": sha(b"fetched")}})
    await settle(world, reconciler)
    assert await versions(world) == ["digits-v1"]


async def test_a_pinned_digest_that_is_not_found_makes_no_version(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await change(world, {"calibration": {"uri": await on_the_shelf(world), "digest": sha(b"other")}})
    condition = await settle(world, reconciler)
    assert condition["reason"] == "DigestMismatch"
    assert str(condition["message"]).startswith("spec.calibration.digest: ")
    assert condition["again"]
    assert await versions(world) == []


async def test_a_place_that_is_not_allowed_is_refused_with_the_way_in(
    world: World, reconciler: ModelReconciler
) -> None:
    await world.model()
    await change(world, {"source": {"uri": "https://models.example.com/m.keras"}})
    condition = await settle(world, reconciler)
    assert (condition["reason"], condition["again"]) == ("HostNotAllowed", None)
    assert condition["message"] == (
        "spec.source.uri: this controller doesn't fetch from models.example.com; start it with "
        "--source-host models.example.com, or push the file with 'litefleet model push FILE'"
    )


async def test_a_model_that_is_deleted_lets_its_fetches_go(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    await change(world, {"source": {"uri": await on_the_shelf(world)}})
    await reconciler.reconcile(REQUEST)
    await world.objects.delete(MODEL)
    await reconciler.reconcile(REQUEST)
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("fetch ")]


async def test_a_version_made_by_hand_must_be_pinned(world: World) -> None:
    spec = {
        "modelRef": "digits",
        "version": 1,
        "source": {"uri": "https://m.test/m"},
        "evaluation": {"uri": "https://m.test/e"},
    }
    with pytest.raises(InvalidError, match=r"spec.source.digest is missing"):
        await world.create("ModelVersion", "digits-v1", spec)


async def test_a_compiled_file_is_fetched_and_pinned_like_the_source(world: World, reconciler: ModelReconciler) -> None:
    await world.model()
    uri = await on_the_shelf(world, b"compiled")
    await change(world, {"prebuilt": {"edgetpu": {"uri": uri, "tolerance": 0.1}}})
    condition = await settle(world, reconciler)
    assert condition["status"] == "True"
    spec = (await world.objects.get(Key("ModelVersion", "default", "digits-v1"))).json()["spec"]
    assert spec["prebuilt"] == {"edgetpu": {"uri": uri, "digest": sha(b"compiled"), "tolerance": 0.1}}
    files = {f["field"]: f for f in (await world.status("Model", "digits"))["files"]}
    assert files["spec.prebuilt.edgetpu"]["digest"] == sha(b"compiled")

    await on_the_shelf(world, b"compiled anew")
    await settle(world, reconciler)
    assert await versions(world) == ["digits-v1"], "what changes behind a URI changes no version"
    await change(world, {"prebuilt": {"edgetpu": {"digest": sha(b"compiled anew")}}})
    await settle(world, reconciler)
    assert await versions(world) == ["digits-v1", "digits-v2"]


async def test_a_compiled_file_that_was_not_pushed_is_waited_for_by_its_field(
    world: World, reconciler: ModelReconciler
) -> None:
    await world.model()
    await change(world, {"prebuilt": {"edgetpu": {"uri": f"blob://{sha(b'nowhere')}"}}})
    condition = await settle(world, reconciler)
    assert condition["reason"] == "NotFound"
    assert str(condition["message"]).startswith("spec.prebuilt.edgetpu.uri: nothing was pushed as")
    assert await versions(world) == []
