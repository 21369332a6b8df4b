"""Each class in use gets its variant or its refusal; a worker that fails ends as a condition."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from litefleet_controller.artifacts.errors import StorageFullError
from litefleet_controller.artifacts.manifest import ArtifactStore
from litefleet_controller.convert.interface import (
    ConversionError,
    ConversionRequest,
    Made,
    ModelFile,
    Outcome,
    Prebuilt,
    Progress,
    RefusedRung,
)
from litefleet_controller.identity.signing import Ed25519Signer
from litefleet_controller.reconcile.interface import Request
from litefleet_controller.reconcile.models import ModelReconciler
from litefleet_controller.reconcile.versions import TRIES, ModelVersionReconciler
from litefleet_controller.store.interface import Key, Patch
from litefleet_controller.telemetry.query import SqlTelemetry
from litefleet_protocol.limits import MAX_GOLDEN_BYTES
from litefleet_protocol.tensors import Signature, TensorSpec
from tests.controller.reconcile.conftest import World

VERSION = Request("default", "digits-v1")
REFUSED = RefusedRung("int8", "ParityFailed", "int8 agrees with the source on 31.2% of 400 samples")


@dataclass
class Scripted:
    """A Converter whose outcomes are set by class. The real one has its own tests, and the demo runs both together."""

    made: Made
    outcomes: dict[str, Outcome | ConversionError] = field(default_factory=dict)
    requests: list[ConversionRequest] = field(default_factory=list)

    async def convert(self, request: ConversionRequest, progress: Callable[[Progress], None]) -> Outcome:
        self.requests.append(request)
        progress(Progress("evaluating", 80, "int8"))
        outcome = self.outcomes.get(request.device_class, Outcome(self.made, ()))
        if isinstance(outcome, ConversionError):
            raise outcome
        return outcome

    async def close(self) -> None:
        return


@pytest.fixture
async def converter(world: World) -> Scripted:
    tensor = TensorSpec(name="x", shape=(1, 8, 8, 1), dtype="float32")
    return Scripted(
        Made(
            recipe="int8", files=(ModelFile("model.tflite", await world.blobs.put(b"a model"), 7),), golden=await world.blobs.put(b"golden"),
            golden_size=6, golden_samples=4, golden_tolerance=0.01, signature=Signature(inputs=(tensor,), outputs=(tensor,)),
            operators={"CONV_2D": 3}, agreement=0.99, accuracy=0.97, source_accuracy=0.975, evaluated=400,
            toolchain={"litert-quantizer": "0.11"}, seconds=1.5, cached=False,
        )
    )  # fmt: skip


@pytest.fixture
async def reconciler(world: World, converter: Scripted, tmp_path) -> ModelVersionReconciler:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    artifacts = ArtifactStore(world.blobs, Ed25519Signer(Ed25519PrivateKey.generate()), tmp_path / "artifacts")
    for name, ladder in (("camera", ["int8"]), ("gateway", ["int8", "float32"]), ("unused", ["float32"])):
        await world.create("DeviceClass", name, {"variants": ladder})
    await world.create("Device", "cam-1", {"class": "camera"})
    await world.create("Device", "gw-1", {"class": "gateway"})
    await world.model()
    await ModelReconciler(world.objects, world.blobs, world.fetches, world.clock).reconcile(
        Request("default", "digits")
    )
    telemetry = SqlTelemetry(world.database.sessions)
    return ModelVersionReconciler(world.objects, world.events, converter, artifacts, telemetry, world.clock)


async def classes(world: World) -> dict[str, dict]:
    return {c["deviceClass"]: c for c in (await world.status("ModelVersion", "digits-v1"))["classes"]}


async def test_classes_in_use_get_their_variant(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    found = await classes(world)
    assert set(found) == {"camera", "gateway"}
    assert found["camera"]["state"] == "Ready"
    variant = found["camera"]["variant"]
    assert (variant["agreement"], variant["runtime"], variant["sizeBytes"]) == (0.99, "litert", 7)
    assert variant["files"] == [{"name": "model.tflite", "digest": variant["digest"], "sizeBytes": 7}]
    assert found["camera"]["variant"]["artifact"] != found["gateway"]["variant"]["artifact"]
    status = await world.status("ModelVersion", "digits-v1")
    assert status["phase"] == "Ready"
    assert status["conditions"][0]["status"] == "True"
    assert await world.event_reasons() == ["VariantReady", "VariantReady"]
    assert {r.ladder for r in converter.requests} == {("int8",), ("int8", "float32")}


async def test_a_second_look_converts_nothing(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    before = await world.objects.resource_version()
    await reconciler.reconcile(VERSION)
    assert len(converter.requests) == 2
    assert await world.objects.resource_version() == before


async def test_a_class_that_is_refused_leaves_the_others_alone(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    converter.outcomes["camera"] = Outcome(None, (REFUSED,))
    converter.outcomes["gateway"] = Outcome(converter.made, (REFUSED,))
    await reconciler.reconcile(VERSION)
    found = await classes(world)
    assert (found["camera"]["state"], found["camera"]["code"]) == ("Refused", "ParityFailed")
    assert "31.2%" in found["camera"]["message"]
    assert found["gateway"]["state"] == "Ready"
    assert "refused before it: int8 (ParityFailed" in found["gateway"]["message"]
    status = await world.status("ModelVersion", "digits-v1")
    assert status["phase"] == "PartlyRefused"
    assert "camera" in status["message"]


async def test_a_worker_that_crashes_is_tried_again_and_then_given_up(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    converter.outcomes["camera"] = ConversionError("WorkerCrashed", "the worker was killed", final=False)
    for attempt in range(1, TRIES):
        result = await reconciler.reconcile(VERSION)
        assert result.requeue_after_s
        entry = (await classes(world))["camera"]
        assert (entry["state"], entry["attempts"]) == ("Pending", attempt)
    assert (await reconciler.reconcile(VERSION)).requeue_after_s is None
    entry = (await classes(world))["camera"]
    assert (entry["state"], entry["code"]) == ("Failed", "WorkerCrashed")
    assert (await world.status("ModelVersion", "digits-v1"))["phase"] == "PartlyRefused"


async def test_an_input_that_is_to_blame_is_not_tried_again(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    error = ConversionError("UnsafeLayer", "layer 3 is a Lambda", final=True, hint="use a layer without code")
    converter.outcomes = {"camera": error, "gateway": error}
    assert (await reconciler.reconcile(VERSION)).requeue_after_s is None
    status = await world.status("ModelVersion", "digits-v1")
    assert status["phase"] == "Refused"
    assert "use a layer without code" in status["message"]
    assert status["conditions"][0]["status"] == "False"


async def test_a_changed_ladder_is_decided_again(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    await world.objects.patch(
        Key("DeviceClass", "default", "camera"), Patch("merge", {"spec": {"variants": ["float16"]}})
    )
    await reconciler.reconcile(VERSION)
    assert converter.requests[-1].ladder == ("float16",)
    assert len(converter.requests) == 3


async def test_a_class_that_joins_later_is_converted_for(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    await world.create("Device", "u-1", {"class": "unused"})
    await reconciler.reconcile(VERSION)
    assert [r.device_class for r in converter.requests[2:]] == ["unused"]


async def test_an_old_version_that_nobody_asks_for_is_not_converted_for_a_new_class(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    await world.objects.patch(
        Key("Model", "default", "digits"), Patch("merge", {"spec": {"input": {"preprocess": {"scale": 2.0}}}})
    )
    await ModelReconciler(world.objects, world.blobs, world.fetches, world.clock).reconcile(
        Request("default", "digits")
    )
    await world.create("Device", "u-1", {"class": "unused"})
    await reconciler.reconcile(VERSION)
    assert "unused" not in await classes(world)
    await world.create("ModelRollout", "pinned", {"modelRef": {"name": "digits", "version": 1}})
    await reconciler.reconcile(VERSION)
    assert "unused" in await classes(world)


async def test_without_boards_it_waits_and_says_so(world: World, reconciler: ModelVersionReconciler) -> None:
    for device in ("cam-1", "gw-1"):
        await world.objects.delete(Key("Device", "default", device))
    await reconciler.reconcile(VERSION)
    status = await world.status("ModelVersion", "digits-v1")
    assert status["phase"] == "Pending"
    assert "waiting for a board" in status["message"]


async def test_an_artifact_that_can_not_be_refuses_its_class_alone(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    golden = await world.blobs.put(bytes(MAX_GOLDEN_BYTES + 1))
    converter.outcomes["camera"] = Outcome(replace(converter.made, golden=golden), ())
    await reconciler.reconcile(VERSION)
    found = await classes(world)
    assert (found["camera"]["state"], found["camera"]["code"]) == ("Refused", "TooLarge")
    assert found["gateway"]["state"] == "Ready"


async def test_a_disk_that_fails_under_an_artifact_is_tried_again(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    converter.outcomes["camera"] = Outcome(
        replace(converter.made, files=(ModelFile("model.tflite", f"sha256:{'0' * 64}", 7),)), ()
    )
    result = await reconciler.reconcile(VERSION)
    found = await classes(world)
    assert (found["camera"]["state"], found["camera"]["code"]) == ("Pending", "StorageFailed")
    assert found["gateway"]["state"] == "Ready"
    assert result.requeue_after_s is not None


async def test_a_full_disk_is_waited_for_and_counts_no_tries(
    world: World, reconciler: ModelVersionReconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = world.blobs.put
    is_full = True

    async def full(data: bytes) -> str:
        if is_full:
            raise StorageFullError("blobs", "No space left on device")
        return await put(data)

    monkeypatch.setattr(world.blobs, "put", full)
    for _ in range(TRIES + 1):
        result = await reconciler.reconcile(VERSION)
        assert result.requeue_after_s is not None
    assert (await classes(world))["camera"]["code"] == "StorageFull"
    is_full = False
    await reconciler.reconcile(VERSION)
    assert {c["state"] for c in (await classes(world)).values()} == {"Ready"}


async def test_a_compiled_file_is_for_the_classes_whose_accelerator_it_was_compiled_for(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    file = await world.blobs.put(b"compiled")
    spec = {"edgetpu": {"uri": f"blob://{file}", "tolerance": 0.1}}
    await world.objects.patch(Key("Model", "default", "digits"), Patch("merge", {"spec": {"prebuilt": spec}}))
    await ModelReconciler(world.objects, world.blobs, world.fetches, world.clock).reconcile(
        Request("default", "digits")
    )
    for name, more in (("coral", {}), ("strange", {"runtime": "onnxruntime", "variants": ["onnx-float32"]})):
        await world.create("DeviceClass", name, {"variants": ["int8"], "accelerator": {"kind": "edgetpu"}, **more})
        await world.create("Device", f"{name}-1", {"class": name})
    await reconciler.reconcile(Request("default", "digits-v2"))
    asked = {r.device_class: r.prebuilt for r in converter.requests}
    assert asked == {"camera": None, "gateway": None, "coral": Prebuilt(file, 0.1), "strange": None}
