"""A class that leaves the choice to measurement: what is asked for it, what its status says, and what may change it."""

from dataclasses import replace

from litefleet_controller.convert.interface import Made, ModelFile, Outcome, Pick, RefusedRung, Weighed
from litefleet_controller.convert.latency import Seen, form_of
from litefleet_controller.reconcile.versions import ModelVersionReconciler
from litefleet_controller.resources.recipe import candidates
from litefleet_controller.store.interface import Key, Patch
from litefleet_controller.telemetry.rows import insert_windows, row_of
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.messages import TelemetryWindow
from tests.controller.convert.figures import HINT
from tests.controller.reconcile.conftest import World
from tests.controller.reconcile.test_versions import VERSION, Scripted, classes, converter, reconciler

__all__ = ["converter", "reconciler"]
PICK = Pick("size", "int8 is the smallest of the 2 that hold the class's limits", "Nowhere", ("float16",))


async def make_auto(world: World, **spec: object) -> None:
    body = {"spec": {"variants": ["auto"], **spec}}
    await world.objects.patch(Key("DeviceClass", "default", "camera"), Patch("merge", body))


async def store(world: World, artifact: str, inferences: int, ms: float, device: str = "cam-1") -> None:
    latency = HistogramBuilder()
    for _ in range(inferences):
        latency.add(ms)
    window = TelemetryWindow(
        boot_id=f"{device}-{artifact}", sequence=1, slot="digits", artifact=artifact, version="digits-v1", started=0.0,
        seconds=60.0, count=inferences, errors=0, dropped=0, latency_ms=latency.freeze(),
        confidence=HistogramBuilder().freeze(), classes={}, rss_bytes=None, temperature_c=None, longest_gap_ms=1.0,
    )  # fmt: skip
    row = row_of(
        window, device=device, namespace="default", device_class="camera", rollout=None, received_at=world.clock(),
        clock_untrusted=False,
    )  # fmt: skip
    async with world.database.writing() as session:
        await insert_windows(session, [row])


def weighed(made: Made) -> tuple[Weighed, ...]:
    seen = Seen("int8", "digits-v0", 7, form_of(made.signature), 1.5, 2.0, 3.0, 500, 4)
    return (
        Weighed(
            "int8", "Picked", PICK.reason, model=made.model, size=7, agreement=0.99, accuracy=0.97, activations=64,
            hint=HINT, boards=seen,
        ),
        Weighed("float16", "Front", "no other is better in everything", model=made.model, size=9, hint=HINT),
        Weighed("mixed-int8", "Refused", "mixed-int8 needs a calibration set", "CalibrationMissing"),
    )  # fmt: skip


async def test_every_recipe_that_suits_the_class_is_asked_for_by_size_when_it_says_no_more(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await make_auto(world)
    await world.set_status("Device", "cam-1", {"machine": "aarch64"})
    await reconciler.reconcile(VERSION)
    asked = {r.device_class: r for r in converter.requests}
    assert asked["camera"].ladder == candidates("litert", "cpu")
    assert (asked["camera"].objective, asked["camera"].machines) == ("size", ("aarch64",))
    assert asked["gateway"].objective is None


async def test_an_accelerator_has_the_candidates_that_suit_it(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await make_auto(world, objective="latency", accelerator={"kind": "edgetpu"}, limits={"maxLatencyMs": 8})
    await reconciler.reconcile(VERSION)
    asked = next(r for r in converter.requests if r.device_class == "camera")
    assert (asked.ladder, asked.objective, asked.max_latency_ms) == (("int8",), "latency", 8)


async def test_status_says_what_was_picked_why_and_what_else_there_was(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await make_auto(world)
    refused = (RefusedRung("mixed-int8", "CalibrationMissing", "mixed-int8 needs a calibration set"),)
    converter.outcomes["camera"] = Outcome(converter.made, refused, weighed(converter.made), PICK)
    await reconciler.reconcile(VERSION)
    entry = (await classes(world))["camera"]
    assert entry["choice"] == {
        "objective": "size", "reason": PICK.reason, "latencyFrom": "Nowhere", "others": ["float16"]
    }  # fmt: skip
    picked, front, refusal = entry["candidates"]
    assert (picked["verdict"], picked["sizeBytes"], picked["activationBytes"]) == ("Picked", 7, 64)
    assert picked["hint"]["processor"] == "Xeon (x86_64)"
    assert (picked["boards"]["p50Ms"], picked["boards"]["version"], picked["boards"]["devices"]) == (
        1.5,
        "digits-v0",
        4,
    )
    assert front["verdict"] == "Front"
    assert refusal == {
        "recipe": "mixed-int8", "verdict": "Refused", "why": "mixed-int8 needs a calibration set", "code": "CalibrationMissing",
    }  # fmt: skip
    assert f"picked for size: {PICK.reason}" in entry["message"]


async def test_what_boards_measured_comes_with_the_request_by_recipe_and_the_newest_first(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await reconciler.reconcile(VERSION)
    first = (await classes(world))["camera"]["variant"]["artifact"]
    made = converter.made
    half = ModelFile("model.tflite", await world.blobs.put(b"a longer model"), 14)
    converter.outcomes["camera"] = Outcome(replace(made, recipe="float16", files=(half,)), ())
    await make_auto(world)
    await reconciler.reconcile(VERSION)
    second = (await classes(world))["camera"]["variant"]["artifact"]
    await store(world, first, 200, 4.0)
    await store(world, second, 300, 8.0)
    await store(world, "sha256:" + "f" * 64, 300, 1.0)  # whose manifest is gone
    await make_auto(world, objective="latency")
    await reconciler.reconcile(VERSION)
    seen = converter.requests[-1].seen
    assert [(s.recipe, s.version, s.size, s.inferences, s.devices) for s in seen] == [
        ("float16", "digits-v1", 14, 300, 1),
        ("int8", "digits-v1", 7, 200, 1),
    ]
    assert abs(seen[0].p50_ms - 8.0) < 0.1


async def test_new_telemetry_changes_nothing_about_a_version_that_was_decided(
    world: World, reconciler: ModelVersionReconciler, converter: Scripted
) -> None:
    await make_auto(world, objective="latency")
    await reconciler.reconcile(VERSION)
    asked, entry = len(converter.requests), (await classes(world))["camera"]
    await store(world, entry["variant"]["artifact"], 500, 1.0)
    await reconciler.reconcile(VERSION)
    assert (len(converter.requests), (await classes(world))["camera"]) == (asked, entry)
