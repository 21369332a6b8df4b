"""A compiled file of a Model, through the whole converter: what the class gets, and every reason why it doesn't.

The compiled files are the stand-in's (targets/fake_compiler.py), made of what this converter makes itself.
"""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.interface import ConversionError, ParityLimits, Prebuilt, Progress
from litefleet_controller.convert.tflite.flatbuffer import parse, serialize
from litefleet_controller.reconcile.variants import class_variant
from tests.controller.convert.bench import Bench, ignore
from tests.controller.convert.targets.fake_compiler import compiled

CORAL: dict[str, Any] = {
    "source": "digits.tflite",
    "source_format": "tflite",
    "target": "edgetpu",
    "device_class": "coral",
}
NO_ARTIFACT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the cache: all tests have the same source."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
async def bench(workshop: Any, folder: Path) -> AsyncIterator[Bench]:
    made = Bench(folder, workshop)
    yield made
    await made.converter.close()


async def prebuilt(bench: Bench, **package: Any) -> Prebuilt:
    """The int8 that is made here, as the stand-in compiles it."""
    plain = await bench.make("int8", **CORAL)
    return Prebuilt(await bench.blobs.put(compiled(await bench.blobs.get(plain.model), **package)))


async def test_the_class_gets_the_very_file_with_the_sources_answers_to_be_checked_by(bench: Bench) -> None:
    file = await prebuilt(bench, compiler="16.0.384591198")
    made = await bench.make("int8", **CORAL, prebuilt=file)
    assert (made.recipe, made.model, made.engine) == ("prebuilt", file.digest, "litert")
    assert (made.agreement, made.accuracy, made.evaluated) == (None, None, 0)
    assert made.toolchain["edgetpu_compiler"] == "16.0.384591198"
    assert made.golden_samples == 16
    assert made.target is not None
    assert (made.target.state, made.target.prediction) == ("Available", None)
    assert "not run here: a board's own check decides, where each of 16 golden samples" in made.target.message
    assert "for the int8 made here is off by up to" in made.target.message

    pids = bench.converter.worker_pids
    again = await bench.make("int8", **CORAL, prebuilt=file)
    assert (again.golden, again.cached) == (made.golden, True)
    assert bench.converter.worker_pids == pids

    assert made.provenance is not None
    assert (made.provenance.prebuilt, made.provenance.recipe) == (file.digest, None)
    document = json.loads(await bench.blobs.get(made.provenance.statement))
    build, details = document["predicate"]["buildDefinition"], document["predicate"]["runDetails"]
    assert document["subject"] == [{"name": "model.tflite", "digest": {"sha256": file.digest.removeprefix("sha256:")}}]
    assert [m["name"] for m in build["resolvedDependencies"]] == ["prebuilt", "source", "evaluation"]
    assert build["internalParameters"]["wasRun"] is False
    assert build["internalParameters"]["saysOfItself"]["compiler"] == "16.0.384591198"
    assert [m["name"] for m in details["byproducts"]] == ["frozen.tflite", "golden.npz", "compared with: int8"]
    assert [s["name"] for s in details["metadata"]["litefleet_steps"]] == ["freeze", "check"]
    assert details["metadata"]["litefleet_steps"][1]["containment"]["network"] != "none"


async def test_the_status_says_what_was_read_and_claims_no_answers(bench: Bench) -> None:
    outcome = await bench.convert("int8", **CORAL, prebuilt=await prebuilt(bench, runtime_version=13))
    entry = class_variant("coral", 1, outcome, NO_ARTIFACT)
    assert (entry.state, entry.refusals, entry.candidates) == ("Ready", [], [])
    assert entry.message.startswith("prebuilt, ")
    assert "not run here" in entry.message
    shown = entry.dump()["variant"]
    assert not {"agreement", "accuracy", "sourceAccuracy"} & shown.keys()
    assert shown["target"]["prebuilt"].items() >= {"programs": 1, "runtimeVersion": 13}.items()
    assert shown["provenance"]["prebuilt"] == shown["digest"]


async def test_without_anything_to_compare_with_the_model_must_say_how_near_answers_must_be(bench: Bench) -> None:
    file = await prebuilt(bench)
    error = await bench.refusal("int8", **CORAL, prebuilt=file, calibration=None)
    assert (error.code, error.final) == ("ToleranceMissing", True)
    assert "int8: CalibrationMissing: int8 needs a calibration set" in str(error)
    assert "write spec.prebuilt.edgetpu.tolerance" in error.hint
    told = Prebuilt(file.digest, 0.25)
    made = await bench.make("int8", **CORAL, prebuilt=told, calibration=None)
    assert (made.model, made.golden_tolerance) == (file.digest, 0.25)


async def test_a_class_whose_ladder_has_no_int8_compares_with_one_all_the_same(bench: Bench) -> None:
    made = await bench.make("float32", **CORAL, prebuilt=await prebuilt(bench))
    assert made.target is not None
    assert "for the int8 made here" in made.target.message


async def test_limits_of_the_class_hold_for_it(bench: Bench) -> None:
    file = await prebuilt(bench)
    size = await bench.blobs.size(file.digest)
    limits = ParityLimits(min_agreement=0.95, max_accuracy_drop=0.02, max_artifact_bytes=1000)
    error = await bench.refusal("int8", **CORAL, prebuilt=file, limits=limits)
    assert error.code == "TooLarge"
    assert str(error) == f"spec.prebuilt.edgetpu: prebuilt has {size} bytes; the class takes 1000"
    assert "raise the class's limit" in error.hint


async def test_what_stays_on_the_processor_must_be_known_to_the_boards_runtime(bench: Bench) -> None:
    file = await prebuilt(bench)
    model = parse(await bench.blobs.get(file.digest))
    graph = model.subgraphs[0]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 99
    operator.opcodeIndex, operator.inputs, operator.outputs = 1, graph.outputs, graph.outputs
    model.operatorCodes, graph.operators = [*model.operatorCodes, code], [*graph.operators, operator]
    newer = Prebuilt(await bench.blobs.put(serialize(model)))
    assert (await bench.make("int8", **CORAL, prebuilt=newer)).operators == {"QUANTIZE": 1, "edgetpu-custom-op": 1}
    error = await bench.refusal("int8", **CORAL, prebuilt=newer, runtime_version="2.3.0")
    assert error.code == "UnsupportedOp"
    assert "prebuilt needs QUANTIZE version 99" in str(error)
    assert "class coral has ai-edge-litert 2.3" in str(error)


async def test_a_file_that_is_no_good_refuses_the_class_and_nothing_goes_out_in_its_place(bench: Bench) -> None:
    plain = await bench.make("int8", **CORAL)
    error = await bench.refusal("int8", **CORAL, prebuilt=Prebuilt(plain.model))
    assert (error.code, error.final) == ("NotCompiled", True)
    assert "12 operators" in str(error)


async def test_a_worker_killed_at_the_twin_asks_nobody_for_a_tolerance(bench: Bench) -> None:
    struck: set[int] = set()

    def strike(progress: Progress) -> None:
        if progress.stage == "calibrating" and (pids := set(bench.converter.worker_pids) - struck):
            struck.update(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    # Another number of samples: nothing of these is made yet.
    request = await bench.request("int8", **CORAL, prebuilt=await prebuilt(bench), calibration_samples=40)
    with pytest.raises(ConversionError, match="SIGKILL while calibrating") as crashed:
        await bench.converter.convert(request, strike)
    assert (crashed.value.code, crashed.value.final) == ("WorkerCrashed", False)
    assert len(struck) == 4  # two recipes, two tries each
    assert (await bench.converter.convert(request, ignore)).made is not None
