"""Variants for OpenVINO and ONNX Runtime, made and proven by the real tools in real child processes."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.convert import toolchain
from litefleet_controller.convert.interface import ConversionRequest, Made, ParityLimits
from litefleet_controller.convert.workers import process
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.runtimes import MODEL_FILES
from tests.controller.convert.bench import Bench

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), workshop)
    yield made
    await made.converter.close()


TFLITE = {"source": "digits.tflite", "source_format": "tflite"}


async def unpacked(blobs: DirectoryBlobs, made: Made, folder: Path) -> tuple[Path, Any]:
    """The variant's files as a board has them, and its golden samples."""
    for file in made.files:
        (folder / file.name).write_bytes(await blobs.get(file.digest))
    golden = np.load(io.BytesIO(await blobs.get(made.golden)))
    return folder / made.files[0].name, golden


async def test_openvino_is_given_ir_that_answers_as_the_source_does_at_half_the_size(
    bench: Bench, tmp_path: Path
) -> None:
    from litefleet_controller.convert.engines.openvino import core

    made = await bench.make("openvino-float16", **TFLITE)
    assert made.engine == "openvino"
    assert [f.name for f in made.files] == list(MODEL_FILES["openvino"])
    assert made.agreement >= 0.99
    assert made.accuracy >= 0.95
    assert made.operators["Convolution"] == 5
    assert made.arena_bytes is None
    assert set(made.toolchain) >= {"openvino", "ai-edge-litert"}
    whole = await bench.make("openvino-float32", **TFLITE)
    assert made.files[1].size < 0.51 * whole.files[1].size
    path, golden = await unpacked(bench.blobs, made, tmp_path)
    model = core().compile_model(path, "CPU")
    answers = np.concatenate([model(x[np.newaxis])[0] for x in golden["x0"]])
    assert np.abs(answers - golden["y0"]).max() < made.golden_tolerance


@pytest.mark.parametrize(("recipe", "share"), [("onnx-float32", 1.0), ("onnx-float16", 0.53)])
async def test_onnx_runtime_is_given_a_file_that_answers_as_the_source_does(
    bench: Bench, tmp_path: Path, recipe: str, share: float
) -> None:
    import onnxruntime

    made = await bench.make(recipe)
    assert (made.engine, [f.name for f in made.files]) == ("onnxruntime", ["model.onnx"])
    assert made.agreement >= 0.99
    assert made.size <= share * (await bench.make("onnx-float32")).size
    assert set(made.toolchain) >= {"tf2onnx", "onnx", "onnxruntime", "tensorflow"}
    path, golden = await unpacked(bench.blobs, made, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = made.signature.inputs[0].name
    answers = np.concatenate([session.run(None, {name: x[np.newaxis]})[0] for x in golden["x0"]])
    assert np.abs(answers - golden["y0"]).max() < made.golden_tolerance


@pytest.mark.parametrize(("recipe", "changes"), [("openvino-float16", TFLITE), ("onnx-float32", {})])
async def test_the_same_source_made_anew_gives_the_same_bytes(
    bench: Bench, tmp_path: Path, recipe: str, changes: dict[str, Any]
) -> None:
    first = await bench.make(recipe, **changes)
    # The worker is the same one, whose libraries have named many things by now; what is remembered goes.
    entries = bench.folder / "work" / "cache" / "variants"
    for entry in entries.iterdir():
        entry.unlink()
    again = await bench.make(recipe, **changes)
    assert not again.cached
    assert (again.files, again.golden) == (first.files, first.golden)


async def test_another_process_with_another_hash_seed_in_another_folder_gives_the_same_bytes_for_every_recipe(
    bench: Bench, workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(process.DETERMINISTIC, "PYTHONHASHSEED", "4242")
    other = Bench(tmp_path, workshop)
    whole = await bench.make("onnx-float32"), await other.make("onnx-float32")
    try:
        made = [whole]
        for recipe in recipes():
            first, again = [await b.convert(recipe, **TFLITE, limits=ParityLimits(0, 1)) for b in (bench, other)]
            assert first.refused == again.refused
            made += [(first.made, again.made)] if first.made and again.made else []
        assert {first.recipe for first, _ in made} >= {"int8", "float16", "openvino-float32", "onnx-float16"}
        for first, again in made:
            assert (again.files, again.golden, again.signature) == (first.files, first.golden, first.signature), (
                first.recipe
            )
            assert first.provenance is not None
            assert again.provenance is not None
            # What differs stands in the statement, which is about other times.
            assert again.provenance.frozen == first.provenance.frozen
            assert again.provenance.statement != first.provenance.statement
            assert again.provenance.started > first.provenance.started
    finally:
        await other.converter.close()


async def test_a_quantized_source_goes_to_no_other_engine(bench: Bench) -> None:
    outcome = await bench.convert("openvino-float16", source="digits-int8.tflite", source_format="tflite")
    assert [r.code for r in outcome.refused] == ["AlreadyQuantized"]


async def test_a_tool_that_is_missing_refuses_its_rung_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = toolchain._version
    monkeypatch.setattr(toolchain, "_version", lambda name: None if name == "openvino" else installed(name))
    request: ConversionRequest = await bench.request("openvino-float16", "float32", **TFLITE)
    outcome = await bench.converter.convert(request, lambda _: None)
    assert [(r.recipe, r.code) for r in outcome.refused] == [("openvino-float16", "ToolMissing")]
    assert "openvino isn't installed; install litefleet-controller[convert-openvino]" in outcome.refused[0].message
    assert outcome.made is not None
    assert outcome.made.recipe == "float32"


async def test_limits_hold_for_the_files_together(bench: Bench) -> None:
    made = await bench.make("openvino-float16", **TFLITE)
    limits = ParityLimits(0.95, 0.02, max_artifact_bytes=made.size - 1)
    outcome = await bench.convert("openvino-float16", **TFLITE, limits=limits)
    assert outcome.refused[0].code == "TooLarge"
    assert f"{made.files[0].size + made.files[1].size} bytes" in outcome.refused[0].message
