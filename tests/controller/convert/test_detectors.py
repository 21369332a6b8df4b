"""A trained SSD detector with its post-processing, as `.tflite`, through the whole of conversion: the real tools."""

import io
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from litefleet_controller.convert.interface import ConversionError, Measure, Outcome, ParityLimits, RecipeName
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.controller.convert.bench import Bench

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]

OPERATOR = "TFLite_Detection_PostProcess"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("detectors"), workshop)
    yield made
    await made.converter.close()


async def convert(bench: Bench, *ladder: RecipeName, source: str = "detector.tflite", **changes: Any) -> Outcome:
    evaluation = await bench.blobs.put(bench.workshop.read("detector-evaluation.npz"))
    given = {
        "source_format": "tflite", "calibration": "detector-calibration.npz", "evaluation": evaluation,
        "measure": Measure("closeness"), "preprocess": Preprocess(), "postprocess": Postprocess(kind="none"),
        "limits": ParityLimits(min_agreement=0.95, max_accuracy_drop=1.0),
    }  # fmt: skip
    return await bench.convert(*ladder, source=source, **{**given, **changes})


@pytest.mark.parametrize("recipe", ["float32", "float16", "weight-only-int8", "dynamic-int8", "int8", "mixed-int8"])
async def test_a_detector_keeps_its_post_processing_and_its_outputs_are_floats(
    bench: Bench, recipe: RecipeName
) -> None:
    made = (await convert(bench, recipe)).made
    assert made is not None
    assert made.agreement >= 0.95
    assert made.operators[OPERATOR] == 1
    assert sorted(o.shape for o in made.signature.outputs) == [(1,), (1, 4), (1, 4), (1, 4, 4)]
    assert {o.dtype for o in made.signature.outputs} == {"float32"}
    assert made.signature.inputs[0].dtype == ("int8" if recipe == "int8" else "float32")
    assert len(made.closeness) == 3
    if recipe == "float32":
        assert max(o.worst_error for o in made.closeness) < 1e-5
    with np.load(io.BytesIO(await bench.blobs.get(made.golden))) as golden:
        rows = {n: len(golden[f"i{n}"]) // (4 if o.shape == (1, 4, 4) else 1)
                for n, o in enumerate(made.signature.outputs) if f"i{n}" in golden}  # fmt: skip
        assert len(rows) == 3
        assert min(rows.values()) == max(rows.values()) >= 1


async def test_one_that_tensorflow_quantized_goes_out_as_it_is_for_int8_and_for_nothing_else(bench: Bench) -> None:
    outcome = await convert(bench, "dynamic-int8", "int8", source="detector-int8.tflite")
    assert [r.code for r in outcome.refused] == ["AlreadyQuantized"]
    assert outcome.made is not None
    assert (outcome.made.recipe, outcome.made.agreement) == ("int8", 1.0)
    assert await bench.blobs.get(outcome.made.model) == bench.workshop.read("detector-int8.tflite")
    assert outcome.made.signature.inputs[0].dtype == "uint8"


async def test_other_engines_refuse_it_and_say_what_to_do(bench: Bench) -> None:
    outcome = await convert(bench, "openvino-float32", "onnx-float32")
    assert [r.code for r in outcome.refused] == ["UnsupportedOp"] * 2
    assert all(f"a model with {OPERATOR}, which LiteRT alone has" in r.message for r in outcome.refused)


async def test_a_set_on_which_it_finds_nothing_proves_nothing(bench: Bench) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.zeros((20, 32, 32, 1), np.float32))
    with pytest.raises(ConversionError, match="detects nothing in any of the 20 samples") as refused:
        await convert(bench, "float32", evaluation=await bench.blobs.put(file.getvalue()))
    assert (refused.value.code, refused.value.final) == ("EvaluationInvalid", True)


async def test_a_saved_model_with_a_stand_in_for_the_operator_is_refused_with_the_way_in(bench: Bench) -> None:
    with pytest.raises(ConversionError, match=f"a function in place of {OPERATOR}") as refused:
        await convert(bench, "float32", source="detector.zip", source_format="savedModel")
    assert refused.value.code == "UnsupportedOp"
    assert "allow_custom_ops" in refused.value.hint
