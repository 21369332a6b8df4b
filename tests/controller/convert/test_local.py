"""The whole of conversion on real digits: a trained network, the real tools, real child processes.

One converter for the module, since a worker pays seconds for tensorflow; what needs a converter of its own says so.
"""

import asyncio
import io
import json
import os
import pickle
import re
import signal
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from litefleet_controller.artifacts.errors import StorageFullError
from litefleet_controller.convert import toolchain
from litefleet_controller.convert.interface import (
    ConversionError,
    Measure,
    ParityLimits,
    Progress,
    RecipeName,
)
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.tflite.precision import recipe_of
from litefleet_controller.convert.workers.limits import PoolLimits, WorkerLimits
from litefleet_protocol.limits import MAX_GOLDEN_BYTES
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.controller.convert.bench import LIMITS, Bench, ignore

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), workshop)
    yield made
    await made.converter.close()


@pytest_asyncio.fixture(loop_scope="module")
async def new_bench(workshop: Any, tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**limits: Any) -> Bench:
        made.append(Bench(tmp_path, workshop, PoolLimits(**limits)))
        return made[-1]

    yield make
    for each in made:
        await each.converter.close()


# --- what is made ------------------------------------------------------------------------------------------------


async def test_the_same_request_again_takes_under_a_hundredth_and_asks_no_worker(
    new_bench: Callable[..., Bench],
) -> None:
    cold = new_bench()
    begun = time.monotonic()
    first = await cold.make("float32")
    took, handed_out = time.monotonic() - begun, len(cold.blobs.handed_out)
    shortest = took
    for _ in range(3):  # another test may have the processor at that moment
        begun = time.monotonic()
        again = await cold.make("float32")
        shortest = min(shortest, time.monotonic() - begun)
    assert shortest < took / 100
    assert (first.cached, again.cached) == (False, True)
    assert len(cold.blobs.handed_out) == handed_out
    assert replace(again, cached=False, seconds=first.seconds) == first


@pytest.mark.parametrize(
    ("recipe", "smallest", "largest"),
    [
        ("float32", 0.9, 1.1),
        ("float16", 0.5, 0.6),
        ("dynamic-int8", 0.25, 0.4),
        ("weight-only-int8", 0.25, 0.4),
        ("int8", 0.25, 0.45),
        ("int8-float", 0.25, 0.45),
        ("int16x8", 0.25, 0.45),
    ],
)
async def test_each_recipe_has_its_size_and_answers_as_the_source(
    bench: Bench, recipe: RecipeName, smallest: float, largest: float
) -> None:
    made = await bench.make(recipe)
    weights = 4 * 44_000
    assert smallest < made.size / weights < largest
    assert made.agreement >= 0.99
    assert made.accuracy >= 0.95
    assert made.evaluated == 597
    assert made.size == await bench.blobs.size(made.model)


async def test_the_source_answers_few_samples_one_by_one_as_it_answers_many_at_once(bench: Bench) -> None:
    cache = bench.folder / "work" / "cache" / "frozen"

    async def answers(evaluation: str) -> NDArray[np.float32]:
        known = set(cache.iterdir())
        await bench.make("float32", evaluation=evaluation)
        (entry,) = set(cache.iterdir()) - known
        with np.load(io.BytesIO(await bench.blobs.get(json.loads(entry.read_bytes())["answers"]))) as data:
            return data["y0"]

    file = io.BytesIO()
    with np.load(io.BytesIO(bench.workshop.read("evaluation.npz"))) as data:
        np.savez(file, x=data["x"][:100], y=data["y"][:100])
        many = await answers(await bench.blobs.put(file.getvalue()))
        file = io.BytesIO()
        np.savez(file, x=data["x"][:40], y=data["y"][:40])
    few = await answers(await bench.blobs.put(file.getvalue()))
    assert few == pytest.approx(many[:40], abs=1e-5)


async def test_int8_takes_and_gives_int8_and_the_others_float32(bench: Bench) -> None:
    whole, dynamic = await bench.make("int8"), await bench.make("dynamic-int8")
    assert whole.signature.inputs[0].dtype == whole.signature.outputs[0].dtype == "int8"
    assert whole.signature.inputs[0].quantization is not None
    assert whole.signature.inputs[0].quantization.scale == pytest.approx(1 / 255, rel=0.01)
    assert dynamic.signature.inputs[0].dtype == dynamic.signature.outputs[0].dtype == "float32"
    assert whole.signature.inputs[0].shape == (1, 8, 8, 1)


async def test_int8_has_integer_operators_only(bench: Bench) -> None:
    made = await bench.make("int8")
    assert made.operators["CONV_2D"] == 5
    assert not {"QUANTIZE", "DEQUANTIZE"} & made.operators.keys()


async def test_integers_with_float_edges_are_converted_once_on_the_way_in_and_once_on_the_way_out(bench: Bench) -> None:
    for recipe in ("int8-float", "int16x8"):
        made = await bench.make(recipe)
        assert made.signature.inputs[0].dtype == made.signature.outputs[0].dtype == "float32"
        assert (made.operators["QUANTIZE"], made.operators["DEQUANTIZE"]) == (1, 1)


async def test_weights_alone_are_turned_back_one_operator_each(bench: Bench) -> None:
    # Ten layers have weights; four of them fewer than 1,024 numbers, which stay float32.
    assert (await bench.make("weight-only-int8")).operators["DEQUANTIZE"] == 6


@pytest.mark.parametrize("recipe", ["weight-only-int8", "int8-float", "int16x8"])
async def test_what_a_recipe_made_is_told_by_the_file_and_goes_out_byte_for_byte(
    bench: Bench, recipe: RecipeName
) -> None:
    made = await bench.make(recipe)
    request = replace(await bench.request(recipe, calibration=None), source=made.model, source_format="tflite")
    again = (await bench.converter.convert(request, ignore)).made
    assert again is not None
    assert (again.recipe, again.model, again.agreement) == (recipe, made.model, 1.0)


async def test_one_calibration_serves_every_recipe_with_fixed_ranges(bench: Bench) -> None:
    requests = [await bench.request(r, calibration_samples=60) for r in ("int8", "int8-float", "int16x8")]
    bench.blobs.handed_out.clear()
    outcomes = await asyncio.gather(*(bench.converter.convert(r, ignore) for r in requests))
    assert all(o.made and not o.made.cached for o in outcomes)
    # Once for the calibration, and to each recipe, whose layers are examined with it.
    assert bench.blobs.handed_out.count(requests[0].calibration or "") == 1 + len(requests)


async def test_golden_samples_are_the_variants_own_answers(bench: Bench) -> None:
    made = await bench.make("int8")
    assert made.golden_size <= MAX_GOLDEN_BYTES
    with np.load(io.BytesIO(await bench.blobs.get(made.golden))) as golden:
        assert (golden["x0"].shape, golden["x0"].dtype) == ((4, 8, 8, 1), np.float32)
        assert (golden["y0"].shape, golden["y0"].dtype) == ((4, 10), np.float32)
        assert golden["x0"].max() <= 1.0
        assert golden["y0"].sum(axis=1) == pytest.approx(1, abs=0.05)
    assert made.golden_tolerance < 0.05


async def test_weights_lie_inside_the_flatbuffer(bench: Bench) -> None:
    made = await bench.make("dynamic-int8", source="wide.keras", limits=ParityLimits(0, 1))
    buffers = parse(await bench.blobs.get(made.model)).buffers
    assert max(len(b.data) for b in buffers if b.data is not None) > 256 * 1024
    assert all(b.offset == 0 and b.size == 0 for b in buffers)


async def test_a_class_with_other_limits_reuses_the_variant(bench: Bench) -> None:
    await bench.make("int8")
    assert (await bench.make("int8", device_class="other", limits=ParityLimits(0.5, 0.5))).cached


async def test_the_toolchain_is_recorded(bench: Bench) -> None:
    assert {"tensorflow", "keras", "litert-quantizer", "ai-edge-litert"} <= (await bench.make("int8")).toolchain.keys()


async def test_provenance_says_what_was_really_done_and_a_variant_from_the_cache_has_the_same(bench: Bench) -> None:
    made, again = await bench.make("int8"), await bench.make("int8")
    assert made.provenance is not None
    assert again.provenance == made.provenance
    document = json.loads(await bench.blobs.get(made.provenance.statement))
    predicate = document["predicate"]
    assert document["subject"] == [{"name": "model.tflite", "digest": {"sha256": made.model.removeprefix("sha256:")}}]
    steps = predicate["runDetails"]["metadata"]["litefleet_steps"]
    assert [s["name"] for s in steps] == ["freeze", "calibrate", "make"]
    assert {"loading", "freezing", "evaluating"} <= steps[0]["stages"].keys()
    assert all(s["seconds"] == pytest.approx(sum(s["stages"].values()), abs=0.01) for s in steps)
    assert predicate["runDetails"]["builder"]["version"].items() >= made.toolchain.items()
    request = await bench.request("int8")
    materials = {
        m["name"]: f"sha256:{m['digest']['sha256']}" for m in predicate["buildDefinition"]["resolvedDependencies"]
    }
    assert materials.items() >= {"source": request.source, "calibration": request.calibration}.items()


async def test_progress_goes_forward_through_the_stages(bench: Bench) -> None:
    told: list[Progress] = []
    request = await bench.request("int8", calibration_samples=50)
    await bench.converter.convert(request, told.append)
    stages = list(dict.fromkeys(p.stage for p in told))
    assert stages == ["queued", "calibrating", "quantizing", "evaluating"]
    assert [p.percent for p in told] == sorted(p.percent for p in told)


async def test_identical_requests_share_one_computation(bench: Bench) -> None:
    request = await bench.request("int8", calibration_samples=40)
    bench.blobs.handed_out.clear()
    outcomes = await asyncio.gather(*(bench.converter.convert(request, ignore) for _ in range(3)))
    assert bench.blobs.handed_out.count(request.calibration) == 2  # for the calibration, and for examining layers
    assert len({o.made.model for o in outcomes if o.made}) == 1


async def test_two_classes_of_one_source_share_its_freezing(bench: Bench) -> None:
    requests = [await bench.request(r, preprocess=Preprocess(scale=1 / 16, offset=1e-6)) for r in ("float16", "int8")]
    bench.blobs.handed_out.clear()
    outcomes = await asyncio.gather(*(bench.converter.convert(r, ignore) for r in requests))
    assert all(o.made and not o.made.cached for o in outcomes)
    assert bench.blobs.handed_out.count(requests[0].source) == 1


async def test_the_controllers_process_stays_light(bench: Bench) -> None:
    before = set(sys.modules)  # other tests' imports
    await bench.make("int8")
    assert not {"tensorflow", "keras", "litert_quantizer"} & (sys.modules.keys() - before)


# --- the ladder --------------------------------------------------------------------------------------------------


async def test_a_wrongly_scaled_calibration_set_costs_int8_and_the_next_rung_is_taken(bench: Bench) -> None:
    outcome = await bench.convert("int8", "float16", calibration="calibration-wrong-scale.npz")
    assert outcome.made is not None
    assert outcome.made.recipe == "float16"
    (refused,) = outcome.refused
    assert (refused.recipe, refused.code) == ("int8", "ParityFailed")
    assert "of 597 samples; the class asks for 95%; accuracy 0." in refused.message


async def test_a_class_that_has_only_int8_is_refused(bench: Bench) -> None:
    outcome = await bench.convert("int8", calibration="calibration-wrong-scale.npz")
    assert outcome.made is None
    assert [r.code for r in outcome.refused] == ["ParityFailed"]


async def test_what_is_too_large_is_refused_with_both_numbers(bench: Bench) -> None:
    outcome = await bench.convert("float32", "int8", limits=replace(LIMITS, max_artifact_bytes=100_000))
    assert outcome.made is not None
    assert outcome.made.recipe == "int8"
    assert [r.code for r in outcome.refused] == ["TooLarge"]
    assert "the class takes 100000" in outcome.refused[0].message


async def test_int8_without_a_calibration_set_is_refused(bench: Bench) -> None:
    outcome = await bench.convert("int8", "float32", calibration=None)
    assert [r.code for r in outcome.refused] == ["CalibrationMissing"]
    assert outcome.made is not None


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((5, 9, 9)), "(5, 9, 9), and the model takes (N, 8, 8, 1)"),
        (np.zeros((0, 8, 8)), "is empty"),
        (np.full((5, 8, 8), np.nan), "5 of 5 samples hold NaN"),
    ],
)
async def test_a_broken_calibration_set_costs_only_the_rung_that_needs_it(
    bench: Bench, x: NDArray[np.float64], says: str
) -> None:
    file = io.BytesIO()
    np.savez(file, x=x)
    request = await bench.request("int8", "float32")
    request = replace(request, calibration=await bench.blobs.put(file.getvalue()))
    outcome = await bench.converter.convert(request, ignore)
    assert outcome.made is not None
    assert outcome.refused[0].code == "CalibrationInvalid"
    assert says in outcome.refused[0].message


async def test_what_needs_more_memory_than_the_board_has_is_refused_with_both_numbers(bench: Bench) -> None:
    outcome = await bench.convert("float32", limits=replace(LIMITS, max_memory_bytes=1000))
    assert outcome.made is None
    (refused,) = outcome.refused
    assert refused.code == "TooLarge"
    assert re.search(r"needs at least \d{6} bytes of memory .*; the class has 1000$", refused.message)


# --- mixed precision ---------------------------------------------------------------------------------------------


async def test_where_int8_holds_the_limits_no_layer_is_spared(bench: Bench) -> None:
    mixed, whole = await bench.make("mixed-int8"), await bench.make("int8-float")
    assert mixed.model == whole.model
    assert mixed.notes == ("every layer is in int8: it holds the limits",)


async def test_what_int8_spoils_stays_in_float_on_both_sides_of_the_range(bench: Bench) -> None:
    outcome = await bench.convert("int8-float", "mixed-int8", source="uneven.keras")
    assert [(r.recipe, r.code) for r in outcome.refused] == [("int8-float", "ParityFailed")]
    made = outcome.made
    assert made is not None
    assert made.recipe == "mixed-int8"
    assert made.agreement >= 0.99
    assert (made.operators["QUANTIZE"], made.operators["DEQUANTIZE"]) == (2, 2)
    (note,) = made.notes
    assert re.search(r"2 of 12 layers, with 7% of the weights, .*: (DEPTHWISE_)?CONV_2D .*, (DEPTHWISE_)?CONV_2D", note)
    assert made.size < (await bench.make("int8-float")).size * 1.1
    assert recipe_of(parse(await bench.blobs.get(made.model))) == "mixed-int8"


async def test_layers_are_spared_for_tensors_that_int8_moves_too_far(bench: Bench) -> None:
    request = {"measure": Measure("closeness", 0.2), "postprocess": Postprocess(kind="none")}
    outcome = await bench.convert("int8-float", "mixed-int8", source="uneven.keras", **request)
    assert [(r.recipe, r.code) for r in outcome.refused] == [("int8-float", "ParityFailed")]
    assert "output 'probabilities' is off by" in outcome.refused[0].message
    made = outcome.made
    assert made is not None
    assert (made.agreement >= 0.95, made.accuracy) == (True, None)
    assert "stay in float32" in made.notes[0]


async def test_layers_are_spared_too_where_int8_does_not_even_load(bench: Bench) -> None:
    outcome = await bench.convert("int8-float", "mixed-int8", source="more-uneven.keras")
    assert [(r.recipe, r.code) for r in outcome.refused] == [("int8-float", "BadShape")]
    assert outcome.made is not None
    assert outcome.made.agreement >= 0.99
    assert "LiteRT can't load the variant" in outcome.made.notes[0]


async def test_a_class_with_other_limits_has_a_search_of_its_own(bench: Bench) -> None:
    await bench.make("mixed-int8", source="uneven.keras")
    strict = await bench.make("mixed-int8", source="uneven.keras", limits=ParityLimits(1.0, 0.0))
    assert not strict.cached
    assert strict.agreement == 1.0
    assert "stay in float32" in strict.notes[0]
    larger = replace(LIMITS, max_artifact_bytes=10**6)
    assert (await bench.make("mixed-int8", source="uneven.keras", limits=larger)).cached


async def test_what_sparing_half_of_the_weights_does_not_mend_is_refused_and_says_what_was_tried(bench: Bench) -> None:
    outcome = await bench.convert("mixed-int8", calibration="calibration-wrong-scale.npz")
    assert outcome.made is None
    assert [r.code for r in outcome.refused] == ["ParityFailed"]
    assert "no more than 50% of the weights may" in outcome.refused[0].message


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("lambda.keras", "UnsafeLayer", "is a Lambda"),
        ("custom.keras", "UnsafeLayer", "Shop>Special"),
        ("any-size.keras", "BadShape", "[?, ?, ?, 1]"),
        ("flex.keras", "UnsupportedOp", ""),
        ("nan.keras", "BadOutput", "597 of 597 samples"),
        ("two-inputs.keras", "FormatUnsupported", "2 inputs"),
        ("evaluation.npz", "FormatMismatch", "no config.json"),
    ],
)
async def test_a_source_that_cannot_be_used_is_refused_for_good(
    bench: Bench, source: str, code: str, says: str
) -> None:
    refused = await bench.refusal("float32", source=source)
    assert (refused.code, refused.final) == (code, True)
    assert says in str(refused)
    assert "\n" not in str(refused)


@pytest.mark.parametrize(("offset", "code"), [(0, "Empty"), (1, "FormatMismatch"), (5000, "FormatMismatch")])
async def test_a_cut_source_is_refused(bench: Bench, offset: int, code: str) -> None:
    request = await bench.request("float32")
    cut = await bench.blobs.put(bench.workshop.read("digits.keras")[:offset])
    with pytest.raises(ConversionError) as refused:
        await bench.converter.convert(replace(request, source=cut), ignore)
    assert (refused.value.code, refused.value.final) == (code, True)


def packed(**members: bytes | zipfile.ZipInfo) -> bytes:
    """A `.keras` archive by its members' names, and what more is in it."""
    file = io.BytesIO()
    plain = {"config.json": b'{"class_name": "Functional"}', "metadata.json": b"{}", "model.weights.h5": bytes(4096)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**plain, **members}.items():
            if isinstance(data, zipfile.ZipInfo):
                archive.writestr(data, "/etc/passwd")
            else:
                archive.writestr(name, data)
    return file.getvalue()


LINK = zipfile.ZipInfo("assets/link")
LINK.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"TFL3" + bytes(100), "FormatMismatch"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden"),
        (pickle.dumps({"weights": 1}), "FormatForbidden"),
        (packed(**{"model.weights.h5": bytes(64 * 1024 * 1024)}), "ArchiveUnsafe"),
        (packed(**{"../evil": b"x"}), "ArchiveUnsafe"),
        (packed(**{"assets/link": LINK}), "ArchiveUnsafe"),
        (packed(**{"config.json": b'{"class_name": "TFSMLayer"}'}), "UnsafeLayer"),
        (packed(**{"config.json": b'{"class_name": "system", "module": "os"}'}), "UnsafeLayer"),
    ],
    ids=["magic", "h5", "pickle", "bomb", "outside", "symlink", "layer", "module"],
)
async def test_a_source_that_hides_something_is_refused_by_the_worker(bench: Bench, data: bytes, code: str) -> None:
    request = replace(await bench.request("float32"), source=await bench.blobs.put(data))
    with pytest.raises(ConversionError) as refused:
        await bench.converter.convert(request, ignore)
    assert (refused.value.code, refused.value.final) == (code, True)
    assert "\n" not in str(refused.value)


async def test_weights_with_a_flipped_bit_are_refused(bench: Bench) -> None:
    data = bytearray(bench.workshop.read("digits.keras"))
    data[len(data) // 2] ^= 0x10
    request = replace(await bench.request("float32"), source=await bench.blobs.put(bytes(data)))
    with pytest.raises(ConversionError) as refused:
        await bench.converter.convert(request, ignore)
    assert (refused.value.code, refused.value.final) == ("FormatMismatch", True)


async def test_fewer_classes_than_labels_are_refused(bench: Bench) -> None:
    refused = await bench.refusal("float32", postprocess=Postprocess(labels=tuple("0123456789ab")))
    assert (refused.code, refused.final) == ("SignatureChanged", True)
    assert "10 classes" in str(refused)
    assert "12" in str(refused)


async def test_a_bad_evaluation_set_is_refused(bench: Bench) -> None:
    request = await bench.request("float32")
    request = replace(request, evaluation=request.calibration or "")
    with pytest.raises(ConversionError, match="no array 'y'") as refused:
        await bench.converter.convert(request, ignore)
    assert (refused.value.code, refused.value.final) == ("EvaluationInvalid", True)


async def test_a_source_that_is_gone_is_refused(bench: Bench) -> None:
    refused = await bench.refusal("float32", evaluation="sha256:" + "0" * 64)
    assert (refused.code, refused.final) == ("NotFound", True)


async def test_missing_tools_are_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_TENSORFLOW", ("tensorflow-that-is-not-there",))
    refused = await bench.refusal("float32")
    assert refused.code == "ToolMissing"
    assert refused.hint == "install litefleet-controller[convert]"


async def test_a_full_disk_may_be_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: bytes) -> str:
        raise StorageFullError("/blobs", "No space left on device")

    request = await bench.request("int8", calibration_samples=30)
    monkeypatch.setattr(bench.blobs, "put", full)
    with pytest.raises(ConversionError, match="No space left") as refused:
        await bench.converter.convert(request, ignore)
    assert (refused.value.code, refused.value.final) == ("StorageFailed", False)


# --- what goes wrong ---------------------------------------------------------------------------------------------


async def test_a_variant_whose_blob_is_gone_is_made_again(bench: Bench) -> None:
    first = await bench.make("float16")
    await bench.blobs.delete(first.model)
    again = await bench.make("float16")
    assert not again.cached
    assert again.model == first.model
    assert await bench.blobs.size(again.model) == again.size


async def test_a_damaged_cache_entry_is_made_again(bench: Bench) -> None:
    first = await bench.make("dynamic-int8")
    for entry in (bench.folder / "work" / "cache" / "variants").iterdir():
        entry.chmod(0o644)
        entry.write_text(entry.read_text()[:40])
    again = await bench.make("dynamic-int8")
    assert not again.cached
    assert again.model == first.model


async def test_a_worker_killed_in_the_middle_is_replaced_and_makes_the_same_bytes(
    bench: Bench, new_bench: Callable[..., Bench]
) -> None:
    expected = await bench.make("int8")
    other = new_bench()
    request = await other.request("int8")

    def kill(progress: Progress) -> None:
        if progress.stage == "loading":
            os.kill(other.converter.worker_pids[0], signal.SIGKILL)

    with pytest.raises(ConversionError, match="SIGKILL while loading") as crashed:
        await other.converter.convert(request, kill)
    assert (crashed.value.code, crashed.value.final) == ("WorkerCrashed", False)
    made = await other.make("int8")
    assert (made.model, made.golden, made.cached) == (expected.model, expected.golden, False)


async def test_a_worker_that_hangs_is_ended(new_bench: Callable[..., Bench]) -> None:
    other = new_bench(worker=WorkerLimits(stage_seconds=3.0))

    def hang(progress: Progress) -> None:
        if progress.stage == "loading":
            os.kill(other.converter.worker_pids[0], signal.SIGSTOP)

    with pytest.raises(ConversionError, match="did not get on with loading") as late:
        await other.converter.convert(await other.request("int8"), hang)
    assert (late.value.code, late.value.final) == ("Timeout", False)


async def test_a_worker_that_eats_memory_is_ended(new_bench: Callable[..., Bench]) -> None:
    other = new_bench(worker=WorkerLimits(max_rss_bytes=150_000_000, watch_seconds=0.02))
    refused = await other.refusal("int8")
    assert (refused.code, refused.final) == ("MemoryLimit", False)
    assert "150000000" in str(refused)


async def test_a_worker_that_eats_time_is_ended(new_bench: Callable[..., Bench]) -> None:
    other = new_bench(worker=WorkerLimits(cpu_seconds=1))
    refused = await other.refusal("int8")
    assert (refused.code, refused.final) == ("Timeout", False)
    assert "1 s of CPU time" in str(refused)


async def test_closing_in_the_middle_ends_the_request_and_its_worker(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    begun = asyncio.Event()
    request = await other.request("int8")
    task = asyncio.create_task(
        other.converter.convert(request, lambda p: begun.set() if p.stage == "loading" else None)
    )
    await begun.wait()
    (pid,) = other.converter.worker_pids
    await other.converter.close()
    with pytest.raises(ConversionError, match="SIGKILL while loading"):
        await task
    assert not Path(f"/proc/{pid}").exists()
    assert list((other.folder / "work" / "scratch").iterdir()) == []


async def test_cancelling_the_only_request_ends_its_worker(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    begun = asyncio.Event()
    task = asyncio.create_task(
        other.converter.convert(await other.request("int8"), lambda p: begun.set() if p.stage == "loading" else None)
    )
    await begun.wait()
    (pid,) = other.converter.worker_pids
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# --- training ----------------------------------------------------------------------------------------------------


async def test_training_learns_the_digits_and_says_how_far_it_is(workshop: Any) -> None:
    lines = [line for line in workshop.training if "epoch" in line]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert float(str(lines[-1]["heldOut"])) >= 0.95


# --- one candidate's worker fails --------------------------------------------------------------------------------


def killer(bench: Bench, recipe: RecipeName, number: signal.Signals, times: int, stage: str = "quantizing") -> Any:
    """A listener that strikes the worker that makes `recipe`, at its first `times` tries; and the tries."""
    struck: list[int] = []

    def listen(progress: Progress) -> None:
        if (progress.recipe, progress.stage) == (recipe, stage) and len(struck) < times:
            (pid,) = bench.converter.worker_pids
            if pid not in struck:
                struck.append(pid)
                os.kill(pid, number)

    return listen, struck


TFLITE = {"source": "digits.tflite", "source_format": "tflite"}


async def test_a_recipe_whose_worker_is_killed_twice_is_refused_alone(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    listen, struck = killer(other, "dynamic-int8", signal.SIGKILL, 2)
    outcome = await other.converter.convert(await other.request("dynamic-int8", "float16", **TFLITE), listen)
    assert len(struck) == 2
    assert outcome.made is not None
    assert outcome.made.recipe == "float16"
    (refused,) = outcome.refused
    assert (refused.recipe, refused.code) == ("dynamic-int8", "WorkerCrashed")
    assert (
        "dynamic-int8 couldn't be made: the conversion worker was ended by SIGKILL while quantizing" in refused.message
    )
    # It was the worker's end and no refusal of the recipe: the next request finds nothing of it.
    assert (await other.make("dynamic-int8", **TFLITE)).recipe == "dynamic-int8"


async def test_a_recipe_whose_worker_is_killed_once_is_made_by_another(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    listen, struck = killer(other, "dynamic-int8", signal.SIGKILL, 1)
    outcome = await other.converter.convert(await other.request("dynamic-int8", "float16", **TFLITE), listen)
    assert len(struck) == 1
    assert outcome.made is not None
    assert (outcome.made.recipe, outcome.refused) == ("dynamic-int8", ())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGSEGV, "ModelCrashed"), (signal.SIGXCPU, "Timeout")], ids=["segfault", "CPU limit"]
)
async def test_of_candidates_the_one_that_crashed_is_refused_and_the_best_of_the_others_picked(
    new_bench: Callable[..., Bench], number: signal.Signals, code: str
) -> None:
    other = new_bench()
    # The first to be made, so that its worker has seen nothing else.
    listen, struck = killer(other, "dynamic-int8", number, 1)
    request = await other.request("dynamic-int8", "float16", "float32", objective="size", **TFLITE)
    outcome = await other.converter.convert(request, listen)
    assert len(struck) == 1
    assert outcome.made is not None
    assert outcome.made.recipe == "float16"
    assert {w.recipe: (w.verdict, w.code) for w in outcome.weighed} == {
        "dynamic-int8": ("Refused", code),
        "float16": ("Picked", ""),
        "float32": ("Front", ""),
    }


async def test_a_recipe_at_which_a_worker_hangs_is_refused_alone(
    new_bench: Callable[..., Bench],
) -> None:
    other = new_bench(worker=WorkerLimits(stage_seconds=3.0))
    listen, struck = killer(other, "dynamic-int8", signal.SIGSTOP, 1)
    outcome = await other.converter.convert(await other.request("dynamic-int8", "float16", **TFLITE), listen)
    assert outcome.made is not None
    assert [(r.recipe, r.code) for r in outcome.refused] == [("dynamic-int8", "Timeout")]
    assert not Path(f"/proc/{struck[0]}").exists()


async def test_with_no_candidate_left_the_worker_s_fault_is_the_request_s(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    listen, struck = killer(other, "dynamic-int8", signal.SIGKILL, 2)
    strict = ParityLimits(min_agreement=0.95, max_accuracy_drop=0.02, max_artifact_bytes=1000)
    request = await other.request("float32", "dynamic-int8", limits=strict, **TFLITE)
    with pytest.raises(ConversionError, match="SIGKILL while quantizing") as crashed:
        await other.converter.convert(request, listen)
    assert (crashed.value.code, crashed.value.final, len(struck)) == ("WorkerCrashed", False, 2)


async def test_a_source_whose_opening_crashes_fails_the_request_at_once(new_bench: Callable[..., Bench]) -> None:
    other = new_bench()
    listen, struck = killer(other, "dynamic-int8", signal.SIGKILL, 2, stage="evaluating")
    with pytest.raises(ConversionError, match="SIGKILL while evaluating"):
        await other.converter.convert(await other.request("dynamic-int8", "float16", **TFLITE), listen)
    assert len(struck) == 1
