"""SavedModels and `.tflite` files through the whole of conversion: real files, the real tools, real child processes."""

import io
import random
import re
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from litefleet_controller.convert import toolchain
from litefleet_controller.convert.interface import ConversionError, Measure, ParityLimits, Progress, RecipeName
from litefleet_controller.convert.workers.limits import PoolLimits, WorkerLimits
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.controller.convert.bench import DATA, Bench, endless, ignore
from tests.faults.mutating import mutant

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]

RECIPES: tuple[RecipeName, ...] = ("float32", "float16", "dynamic-int8", "int8")
SMALL_FATES = {
    "ModelCrashed", "BadShape", "BadOutput", "FormatMismatch", "FormatUnsupported", "UnsupportedOp", "SignatureMissing",
    "EvaluationInvalid", "Timeout", "MemoryLimit",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    limits = PoolLimits(worker=WorkerLimits(check_seconds=10))
    made = Bench(tmp_path_factory.mktemp("sources"), workshop, limits)
    yield made
    await made.converter.close()


def inputs_only(data: bytes) -> bytes:
    file = io.BytesIO()
    with np.load(io.BytesIO(data)) as arrays:
        np.savez(file, x=arrays["x"][:100])
    return file.getvalue()


async def small(bench: Bench, data: bytes, *ladder: RecipeName, **changes: Any) -> Any:
    """A request for a file that takes four numbers and tells three classes apart."""
    file = io.BytesIO()
    np.savez(file, x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 2, 0]))
    given = {
        "source_format": "tflite", "source": await bench.blobs.put(data), "calibration": None,
        "evaluation": await bench.blobs.put(file.getvalue()), "preprocess": Preprocess(), "postprocess": Postprocess(),
        "limits": ParityLimits(0.9, 1.0),
    }  # fmt: skip
    return replace(await bench.request(*ladder or ("float32",)), **{**given, **changes})


async def small_refusal(bench: Bench, data: bytes, **changes: Any) -> ConversionError:
    with pytest.raises(ConversionError) as refused:
        await bench.converter.convert(await small(bench, data, **changes), ignore)
    assert "\n" not in str(refused.value)
    return refused.value


# --- SavedModel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
async def test_a_saved_model_becomes_what_its_keras_file_becomes(bench: Bench, recipe: RecipeName) -> None:
    exported = await bench.make(recipe, source="digits.zip", source_format="savedModel")
    plain = await bench.make(recipe)
    assert exported.operators == plain.operators
    assert exported.agreement >= 0.99
    assert (exported.accuracy, exported.source_accuracy) == pytest.approx(
        (plain.accuracy, plain.source_accuracy), abs=0.005
    )


async def test_several_outputs_keep_their_names_and_order_in_every_engine(bench: Bench) -> None:
    x = await bench.blobs.put(inputs_only(bench.workshop.read("evaluation.npz")))
    tensors = {
        "measure": Measure("closeness"),
        "limits": ParityLimits(0.5, 0),
        "evaluation": x,
        "postprocess": Postprocess(kind="none"),
    }
    for source, source_format, outputs in (
        ("several.keras", "keras", {"features": (1, 128), "maps": (1, 4, 4, 128), "probabilities": (1, 10)}),
        ("several.zip", "savedModel", {"first": (1, 8), "second": (1, 10)}),
    ):
        for recipe in ("float32", "int8", "openvino-float32", "onnx-float32"):
            made = await bench.make(
                recipe, source=source, source_format=source_format, runtime=recipes()[recipe].engine, **tensors
            )
            assert {o.name: o.shape for o in made.signature.outputs} == outputs
            assert [o.output for o in made.closeness] == list(outputs)
            assert (made.accuracy, made.source_accuracy) == (None, None)
            assert made.agreement == 1.0 or recipe == "int8"
            assert max(o.mean_error for o in made.closeness) < (0.1 if "int8" in recipe else 1e-5)


async def test_an_output_may_be_integers_and_have_no_dimension_but_the_batch(bench: Bench) -> None:
    x = await bench.blobs.put(inputs_only(bench.workshop.read("evaluation.npz")))
    tensors = {"measure": Measure("closeness"), "evaluation": x, "postprocess": Postprocess(kind="none")}
    for recipe in ("float32", "dynamic-int8", "onnx-float32", "openvino-float32"):
        made = await bench.make(recipe, source="ink.keras", runtime=recipes()[recipe].engine, **tensors)
        assert made.signature.outputs[0].shape == (1,)
        assert made.signature.outputs[0].dtype in {"int32", "int64"}
        assert made.agreement >= 0.95


async def test_a_classifier_with_several_outputs_is_refused_with_what_to_write(bench: Bench) -> None:
    refused = await bench.refusal("float32", source="several.keras")
    assert refused.code == "FormatUnsupported"
    assert "3 outputs (features float32 [?, 128], maps" in str(refused)
    assert "kind: none" in refused.hint


async def test_the_only_signature_of_a_hand_made_module_is_converted(bench: Bench) -> None:
    made = await bench.make(
        "float32", source="one-signature.zip", source_format="savedModel", limits=ParityLimits(0.99, 1)
    )
    assert made.signature.inputs[0].shape == (1, 8, 8, 1)
    assert made.agreement == 1.0


async def test_the_signature_that_was_asked_for_is_converted(bench: Bench) -> None:
    of_two = {"source": "two-signatures.zip", "source_format": "savedModel", "limits": ParityLimits(0.99, 1)}
    made = await bench.make("float32", source_signature="score", **of_two)
    assert made.signature.inputs[0].shape == (1, 8, 8, 1)
    refused = await bench.refusal("float32", source_signature="other", **of_two)
    assert (refused.code, "'classify', 'score'" in str(refused)) == ("SignatureMissing", True)


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("read-file.zip", "UnsafeOp", "ReadFile"),
        ("save-itself.zip", "UnsafeOp", "'serving_default' runs SaveV2"),
        ("two-signatures.zip", "SignatureMissing", "'classify', 'score'"),
        ("eight-at-once.zip", "BadShape", "8 samples at a time"),
        ("bytes-in.zip", "BadShape", "uint8, not float32"),
        ("any-size.zip", "BadShape", "every dimension but the batch"),
        ("flex.zip", "UnsupportedOp", "ResizeBicubic"),
        ("digits.keras", "FormatMismatch", "has no saved_model.pb"),
        ("digits.tflite", "FormatMismatch", "isn't a packed SavedModel"),
    ],
)
async def test_a_saved_model_that_cannot_be_used_is_refused_for_good(
    bench: Bench, source: str, code: str, says: str
) -> None:
    refused = await bench.refusal("float32", source=source, source_format="savedModel")
    assert (refused.code, refused.final) == (code, True)
    assert says in str(refused)
    assert "\n" not in str(refused)


async def test_saved_variables_that_are_damaged_are_refused(bench: Bench) -> None:
    data = bytearray(bench.workshop.read("digits.zip"))
    at = data.index(b"variables/variables.data-00000") + 2000
    data[at] ^= 0x10
    source = await bench.blobs.put(bytes(data))
    request = replace(await bench.request("float32"), source=source, source_format="savedModel")
    with pytest.raises(ConversionError) as refused:
        await bench.converter.convert(request, ignore)
    assert (refused.value.code, refused.value.final) == ("FormatMismatch", True)


# --- folders of images -------------------------------------------------------------------------------------------


def as_images(npz: bytes, limit: int, folders: Sequence[str], **more: bytes) -> bytes:
    """The data set as a zip of PNG files in class folders."""
    with np.load(io.BytesIO(npz)) as data:
        x, y = data["x"][:limit].astype(np.uint8), data["y"][:limit]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, (pixels, c) in enumerate(zip(x, y, strict=True)):
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "png")
            archive.writestr(f"{folders[c]}/{number:04}.png", image.getvalue())
        for name, data in more.items():
            archive.writestr(name, data)
    return file.getvalue()


async def test_a_folder_of_images_is_worth_what_its_arrays_are(bench: Bench) -> None:
    evaluation = bench.workshop.read("evaluation.npz")
    plain = await bench.make("int8")
    images = await bench.blobs.put(as_images(evaluation, 10_000, "0123456789"))
    made = await bench.make("int8", evaluation=images)
    assert (made.evaluated, made.accuracy, made.agreement) == (plain.evaluated, plain.accuracy, plain.agreement)
    assert made.source_accuracy == plain.source_accuracy


async def test_folders_are_numbered_as_the_labels_that_name_them(bench: Bench) -> None:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    evaluation = bench.workshop.read("evaluation.npz")
    images = await bench.blobs.put(as_images(evaluation, 200, words))
    named = await bench.make("float32", evaluation=images, postprocess=Postprocess(labels=words))
    assert named.source_accuracy >= 0.95
    by_order = await bench.make("float32", evaluation=images, limits=ParityLimits(0.9, 1))
    assert by_order.source_accuracy < 0.5


async def test_a_broken_image_is_named(bench: Bench) -> None:
    evaluation = bench.workshop.read("evaluation.npz")
    images = await bench.blobs.put(as_images(evaluation, 50, "0123456789", **{"3/broken.png": b"\x89PNG broken"}))
    refused = await bench.refusal("float32", evaluation=images)
    assert (refused.code, refused.final) == ("EvaluationInvalid", True)
    assert "'3/broken.png' can't be decoded" in str(refused)
    outcome = await bench.converter.convert(replace(await bench.request("int8", "float32"), calibration=images), ignore)
    assert [(r.recipe, r.code) for r in outcome.refused] == [("int8", "CalibrationInvalid")]
    assert "'3/broken.png'" in outcome.refused[0].message
    assert outcome.made is not None
    assert outcome.made.recipe == "float32"


async def test_a_class_too_few_is_said_where_order_would_number_them(bench: Bench) -> None:
    evaluation = bench.workshop.read("evaluation.npz")
    with np.load(io.BytesIO(evaluation)) as data:
        x, y = data["x"][data["y"] < 9], data["y"][data["y"] < 9]
    file = io.BytesIO()
    np.savez(file, x=x, y=y)
    images = await bench.blobs.put(as_images(file.getvalue(), 100, "abcdefghi"))
    refused = await bench.refusal("float32", evaluation=images)
    assert "9 class folders, and the model tells 10 classes apart" in str(refused)


# --- .tflite -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
async def test_a_float_file_is_quantized_further(bench: Bench, recipe: RecipeName) -> None:
    made = await bench.make(recipe, source="digits.tflite", source_format="tflite")
    assert made.agreement >= 0.99
    assert made.accuracy >= 0.95
    assert made.signature.inputs[0].shape == (1, 8, 8, 1)
    assert (made.signature.inputs[0].dtype == "int8") == (recipe == "int8")


async def test_a_float16_file_is_quantized_further_and_is_its_own_float16(bench: Bench) -> None:
    narrow = (await bench.make("float16", source="digits.tflite", source_format="tflite")).model
    for recipe in ("int8", "float16"):
        request = replace(await bench.request(recipe), source=narrow, source_format="tflite")
        made = (await bench.converter.convert(request, ignore)).made
        assert made is not None
        assert made.agreement >= 0.99
        assert made.recipe == recipe


async def test_a_source_with_open_dimensions_is_fixed_to_the_shape_that_was_asked_for(bench: Bench) -> None:
    for source, source_format in (("any-size.keras", "keras"), ("any-size.zip", "savedModel")):
        refused = await bench.refusal("float32", source=source, source_format=source_format)
        assert refused.code == "BadShape"
        assert "spec.input.shape" in refused.hint
    made = await bench.make("float32", source="any-size.keras", input_shape=(8, 8, 1), limits=ParityLimits(0.99, 1))
    assert made.signature.inputs[0].shape == (1, 8, 8, 1)


async def test_int8_of_a_float_file_needs_a_calibration_set(bench: Bench) -> None:
    outcome = await bench.convert("int8", "float16", source="digits.tflite", source_format="tflite", calibration=None)
    assert [(r.code, r.message) for r in outcome.refused] == [
        ("CalibrationMissing", "int8 needs a calibration set, and the Model has none: set spec.calibration")
    ]
    assert outcome.made is not None
    assert outcome.made.recipe == "float16"


async def test_an_int8_file_with_float_edges_goes_out_without_calibration(bench: Bench) -> None:
    made = await bench.make("int8-float", source="digits-int8.tflite", source_format="tflite", calibration=None)
    assert (made.recipe, made.agreement) == ("int8-float", 1.0)
    assert made.accuracy >= 0.95
    assert made.signature.inputs[0].dtype == made.signature.outputs[0].dtype == "float32"
    assert made.operators["CONV_2D"] == 5


async def test_an_int8_file_with_integer_edges_goes_out_byte_for_byte(bench: Bench) -> None:
    data = (DATA / "int8.tflite").read_bytes()
    outcome = await bench.converter.convert(await small(bench, data, "int8"), ignore)
    assert outcome.made is not None
    assert await bench.blobs.get(outcome.made.model) == data
    assert outcome.made.signature.inputs[0].quantization is not None


async def test_a_quantized_file_is_refused_where_another_recipe_is_asked_for(bench: Bench) -> None:
    outcome = await bench.convert("float16", "dynamic-int8", source="digits-int8.tflite", source_format="tflite")
    assert outcome.made is None
    assert {r.code for r in outcome.refused} == {"AlreadyQuantized"}
    assert len({r.message for r in outcome.refused}) == 1
    assert "int8-float already, with float32 in and float32 out" in outcome.refused[0].message


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [("flex.tflite", "UnsupportedOp", "FlexResizeBicubic"), ("digits.zip", "FormatMismatch", "isn't a .tflite file")],
)
async def test_a_file_that_cannot_be_used_is_refused_for_good(bench: Bench, source: str, code: str, says: str) -> None:
    refused = await bench.refusal("float32", source=source, source_format="tflite")
    assert (refused.code, refused.final) == (code, True)
    assert says in str(refused)


async def test_a_file_that_crashes_litert_is_blamed_at_once(bench: Bench) -> None:
    refused = await small_refusal(bench, endless())
    assert (refused.code, refused.final) == ("ModelCrashed", True)
    assert "SIGSEGV" in str(refused)


async def test_a_file_that_never_answers_is_a_timeout_for_good(bench: Bench) -> None:
    begun: list[str] = []
    file = io.BytesIO()
    np.savez(file, x=np.eye(4, dtype=np.float32), y=np.zeros(4, np.int64))
    request = await small(
        bench, (DATA / "hang-4.tflite").read_bytes(), evaluation=await bench.blobs.put(file.getvalue())
    )
    with pytest.raises(ConversionError, match="did not get on with checking") as late:
        await bench.converter.convert(request, lambda p: begun.append(p.stage))
    assert (late.value.code, late.value.final) == ("Timeout", True)
    assert begun[-1] == "checking"


@pytest.mark.parametrize("name", ["nan", "log-4"])
async def test_a_file_that_answers_no_numbers_is_refused(bench: Bench, name: str) -> None:
    refused = await small_refusal(bench, (DATA / f"{name}.tflite").read_bytes())
    assert (refused.code, refused.final) == ("BadOutput", True)


async def test_after_a_crash_the_next_file_is_served(bench: Bench) -> None:
    await small_refusal(bench, endless(), preprocess=Preprocess(scale=2))
    outcome = await bench.converter.convert(await small(bench, (DATA / "small.tflite").read_bytes()), ignore)
    assert outcome.made is not None


async def test_each_file_is_inspected_in_a_process_of_its_own(bench: Bench) -> None:
    seen: list[tuple[int, ...]] = []

    def look(progress: Progress) -> None:
        if progress.stage == "checking":
            seen.append(tuple(bench.converter.worker_pids))

    for offset in (0.5, 0.25):
        data = (DATA / "small.tflite").read_bytes()
        await bench.converter.convert(await small(bench, data, preprocess=Preprocess(offset=offset)), look)
    (first, *_), (second, *_) = seen
    assert first != second


async def test_a_tflite_file_needs_no_tensorflow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_TENSORFLOW", ("tensorflow-that-is-not-there",))
    outcome = await bench.converter.convert(await small(bench, (DATA / "small.tflite").read_bytes()), ignore)
    assert outcome.made is not None
    assert "tensorflow" not in outcome.made.toolchain


async def test_mutants_end_in_a_variant_or_in_one_final_sentence(bench: Bench) -> None:
    """Forty of a seed; whatever LiteRT makes of one, nobody tries it again."""
    rng = random.Random(4)
    original = (DATA / "small.tflite").read_bytes()
    fates: list[str] = []
    for _ in range(40):
        change, data = mutant(original, rng)
        try:
            outcome = await bench.converter.convert(await small(bench, data, limits=ParityLimits(0, 1)), ignore)
        except ConversionError as e:
            assert e.final, f"{change}: {e.code} {e}"
            assert e.code in SMALL_FATES, f"{change}: {e.code} {e}"
            assert re.fullmatch(r"[^\n]+", str(e))
            fates.append(e.code)
        else:
            fates.append("made" if outcome.made else outcome.refused[0].code)
    assert len(set(fates)) >= 3, fates
