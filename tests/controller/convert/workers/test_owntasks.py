"""What the command line has a worker do: build each architecture (and convert it), train, import. In one warm worker."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pytest_asyncio
from ai_edge_litert.interpreter import Interpreter

from litefleet_controller.convert.interface import ConversionError, Made, ParityLimits
from litefleet_controller.convert.workers.owntasks import (
    CALIBRATION_FILE,
    EVALUATION_FILE,
    MODEL_FILE,
    Build,
    Built,
    Fit,
    Fitted,
    Imported,
    ImportH5,
)
from litefleet_controller.convert.workers.tasks import Stage
from litefleet_controller.convert.zoo.every import ARCHITECTURES, architecture
from litefleet_controller.convert.zoo.interface import Architecture
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.controller.convert.bench import Bench, ignore

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]

SIDE, SAMPLES = 8, 32
IN_KERAS = {"mobilenet-v2": 3_538_984, "mobilenet-v3-small": 2_554_968, "efficientnet-b0": 5_330_571}
"""Parameters as `keras.applications` counts them, which is with the statistics of normalization."""


class Zoo:
    """Networks of 1,000 classes, each built and converted when it is first asked for."""

    def __init__(self, folder: Path, workshop: Any) -> None:
        self.bench = Bench(folder, workshop)
        self._built: dict[str, tuple[Built, bytes]] = {}
        pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, SIDE, SIDE, 3), dtype=np.uint8)
        pixels[:, 0, 0], pixels[:, 0, 1] = 0, 255
        file = io.BytesIO()
        np.savez(file, x=pixels, y=np.zeros(SAMPLES, np.int64))
        self._images = file.getvalue()

    async def build(self, name: str, **changes: Any) -> tuple[Built, bytes]:
        task = {"shape": (SIDE, SIDE, 3), "classes": 1000, **changes}
        built, made = await self.bench.ask(
            lambda folder: Build(folder=str(folder), architecture=name, **task), MODEL_FILE
        )
        assert isinstance(built, Built)
        return built, made[MODEL_FILE]

    async def built(self, name: str) -> tuple[Built, bytes]:
        if name not in self._built:
            self._built[name] = await self.build(name)
        return self._built[name]

    async def convert(self, name: str, recipe: str) -> Made:
        _, source = await self.built(name)
        return await self.convert_source(source, recipe, self._images, self._images)

    async def convert_source(
        self, source: bytes, recipe: str, evaluation: bytes, calibration: bytes, **changes: Any
    ) -> Made:
        put = self.bench.blobs.put
        request = replace(
            await self.bench.request(recipe, calibration=None),
            source=await put(source),
            evaluation=await put(evaluation),
            calibration=await put(calibration),
            calibration_samples=8,
            preprocess=changes.get("preprocess", Preprocess()),
            postprocess=Postprocess(),
            # What int8 does to weights at random says nothing; training shows it, in the benchmarks.
            limits=ParityLimits(0.99 if recipe == "float32" else 0.0, 1.0),
        )
        made = (await self.bench.converter.convert(request, ignore)).made
        assert made is not None
        return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zoo(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zoo]:
    made = Zoo(tmp_path_factory.mktemp("zoo"), workshop)
    yield made
    await made.bench.converter.close()


# --- new ---------------------------------------------------------------------------------------------------------

each = pytest.mark.parametrize("known", ARCHITECTURES, ids=lambda a: a.name)


@each
async def test_an_architecture_has_the_parameters_of_its_paper(zoo: Zoo, known: Architecture) -> None:
    built, _ = await zoo.built(known.name)
    assert built.trainable == known.parameters
    assert built.parameters == IN_KERAS.get(known.name, built.parameters)
    assert built.left_out == known.halvings - 1


@each
async def test_an_architecture_is_converted_to_float32_as_it_answers(zoo: Zoo, known: Architecture) -> None:
    made = await zoo.convert(known.name, "float32")
    assert made.agreement >= 0.99
    assert made.signature.inputs[0].shape == (1, SIDE, SIDE, 3)
    assert made.signature.outputs[0].shape == (1, 1000)


@each
async def test_an_architecture_is_converted_to_int8_and_takes_pixels(zoo: Zoo, known: Architecture) -> None:
    made = await zoo.convert(known.name, "int8")
    (given,) = made.signature.inputs
    assert given.dtype == "int8"
    assert given.quantization is not None
    # 256 steps for 0 to 255: no pixel is rounded.
    assert (given.quantization.scale, given.quantization.zero_point) == (pytest.approx(1.0, rel=1e-3), -128)


def halving(source: bytes) -> set[str]:
    """Names of the layers with a stride of 2."""
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return {layer["config"]["name"] for layer in layers if layer["config"].get("strides") == [2, 2]}


async def test_a_large_input_is_halved_where_keras_halves_it(zoo: Zoo) -> None:
    built, source = await zoo.build("mobilenet-v2", shape=(96, 96, 3), classes=10, width=0.35)
    assert built.left_out == 0
    assert halving(source) == {
        "Conv1",
        "block_1_depthwise",
        "block_3_depthwise",
        "block_6_depthwise",
        "block_13_depthwise",
    }


def weights(source: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        return archive.read("model.weights.h5")


async def test_the_same_seed_gives_the_same_weights(zoo: Zoo) -> None:
    first, second, other = [(await zoo.build("squeezenet", classes=10, seed=seed))[1] for seed in (1, 1, 2)]
    assert weights(first) == weights(second)
    assert weights(first) != weights(other)


# One that is rewritten, with padding before its strides, and one that is drawn here.
@pytest.mark.parametrize("known", [architecture("mobilenet-v2"), architecture("shufflenet-v2")], ids=lambda a: a.name)
async def test_an_input_of_odd_size_can_be_built(zoo: Zoo, known: Architecture) -> None:
    built, _ = await zoo.build(known.name, shape=(45, 29, 1), classes=10, width=known.widths[0])
    assert built.left_out == known.halvings - 3


# --- train -------------------------------------------------------------------------------------------------------


class School:
    """A small network that knows nothing, and digits in pixels of 0 to 255."""

    def __init__(self, zoo: Zoo, workshop: Any, folder: Path) -> None:
        self.zoo = zoo
        self.workshop = workshop
        self.folder = folder
        self.model = workshop.folder / "wide.keras"
        self.data = folder / "digits.npz"
        self.seen: list[Stage] = []
        with np.load(workshop.folder / "training.npz") as data:
            np.savez(self.data, x=np.rint(data["x"] * (255 / 16)).astype(np.uint8), y=data["y"])

    async def fit(self, **changes: Any) -> tuple[Fitted, dict[str, bytes]]:
        task = {"model": str(self.model), "data": str(self.data), "epochs": 4, "scale": 1 / 255, **changes}
        self.seen.clear()
        done, made = await self.zoo.bench.ask(
            lambda folder: Fit(folder=str(folder), **task), MODEL_FILE, EVALUATION_FILE, CALIBRATION_FILE,
            told=self.seen.append,
        )  # fmt: skip
        assert isinstance(done, Fitted)
        return done, made

    async def refusal(self, **changes: Any) -> ConversionError:
        with pytest.raises(ConversionError) as refused:
            await self.fit(**changes)
        assert refused.value.final
        assert "\n" not in str(refused.value)
        return refused.value


@pytest.fixture(scope="module")
def school(zoo: Zoo, workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> School:
    return School(zoo, workshop, tmp_path_factory.mktemp("school"))


async def test_training_learns_and_keeps_the_best_epoch(school: School) -> None:
    done, made = await school.fit()
    assert (done.trained_on, done.held_out, done.are_logits) == (1079, 121, False)
    best = done.epochs[0]
    for epoch in done.epochs:
        best = epoch if epoch.is_better_than(best) else best
    assert best.held_out_accuracy >= 0.9
    assert [s.epoch for s in school.seen if s.epoch] == list(done.epochs)
    percents = [s.percent for s in school.seen]
    assert percents == sorted(percents)
    # What was kept answers what it is said to answer, on what was held out, through the converter.
    sets = made[EVALUATION_FILE], made[CALIBRATION_FILE]
    kept = await school.zoo.convert_source(made[MODEL_FILE], "float32", *sets, preprocess=done.preprocess)
    assert kept.evaluated == 121
    assert kept.source_accuracy == pytest.approx(best.held_out_accuracy, abs=1e-6)


async def test_what_is_held_out_was_not_trained_on(school: School) -> None:
    _, made = await school.fit(epochs=1)
    held_out, shown = arrays(made[EVALUATION_FILE]), arrays(made[CALIBRATION_FILE])
    assert (held_out["x"].dtype, held_out["x"].shape, held_out["y"].shape) == (np.uint8, (121, 8, 8), (121,))
    assert shown["x"].shape == (100, 8, 8)
    aside = {image.tobytes() for image in held_out["x"]}
    assert not aside & {image.tobytes() for image in shown["x"]}


async def test_the_same_seed_trains_to_the_same_weights(school: School) -> None:
    first, second = [(await school.fit(epochs=1, seed=3))[1][MODEL_FILE] for _ in range(2)]
    assert weights(first) == weights(second)


async def test_training_that_gets_no_better_ends_early(school: School) -> None:
    # A rate so small that nothing changes.
    done, _ = await school.fit(epochs=50, learning_rate=1e-12, patience=2)
    assert len(done.epochs) <= 5


async def test_a_loss_that_is_no_number_ends_training_with_what_to_do(school: School) -> None:
    error = await school.refusal(learning_rate=1e30)
    assert error.code == "TrainingFailed"
    assert "--learning-rate below 1e+30" in error.hint


async def test_inputs_that_nothing_scales_are_doubted_at_once(school: School) -> None:
    await school.fit(epochs=1, scale=1.0)
    assert [s.note for s in school.seen if s.note] == [
        "inputs reach 255, and the model doesn't scale them: --scale 0.00392157 makes 0 to 1 of pixels"
    ]


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((20, 9, 9)), np.arange(20) % 10, "9, 9), and the model takes (N, 8, 8, 1)"),
        (np.zeros((20, 8, 8)), np.arange(20) % 12, "y holds classes 0 to 11, and the model knows 0 to 9"),
        (np.zeros((20, 8, 8)), np.arange(19), "y must be one class number a sample"),
        (np.zeros((0, 8, 8)), np.zeros(0), "x is empty"),
        (np.full((20, 8, 8), np.nan), np.arange(20) % 10, "samples hold NaN or infinity"),
    ],
)
async def test_arrays_that_do_not_fit_the_model_are_refused(school: School, x: Any, y: Any, says: str) -> None:
    data = school.folder / "bad.npz"
    np.savez(data, x=x, y=y)
    error = await school.refusal(data=str(data))
    assert error.code == "TrainingInvalid"
    assert says in str(error)
    assert "spec." not in str(error)


async def test_a_model_with_code_in_it_is_refused_before_it_is_opened(school: School) -> None:
    assert (await school.refusal(model=str(school.workshop.folder / "lambda.keras"))).code == "UnsafeLayer"


def arrays(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data)) as content:
        return dict(content)


# --- import-h5 ---------------------------------------------------------------------------------------------------

OLD = Path(__file__).parents[1] / "old"


async def import_h5(zoo: Zoo, source: Path) -> tuple[Imported, bytes]:
    done, made = await zoo.bench.ask(lambda folder: ImportH5(folder=str(folder), source=str(source)), MODEL_FILE)
    assert isinstance(done, Imported)
    return done, made[MODEL_FILE]


async def test_a_file_of_keras_2_answers_as_keras_2_did(zoo: Zoo) -> None:
    done, source = await import_h5(zoo, OLD / "keras-2.h5")
    assert (done.keras_version, done.inputs, done.outputs) == ("2.21.0", ("float32 (8, 8, 1)",), ("float32 (3)",))
    with np.load(OLD / "keras-2-answers.npz") as data:
        x, answers = data["x"], data["answers"]
    file = io.BytesIO()
    np.savez(file, x=x, y=answers.argmax(axis=1))
    made = await zoo.convert_source(source, "float32", file.getvalue(), file.getvalue())
    runner = Interpreter(model_content=await zoo.bench.blobs.get(made.model))
    runner.allocate_tensors()
    for image, wanted in zip(x, answers, strict=True):
        runner.set_tensor(runner.get_input_details()[0]["index"], image[None])
        runner.invoke()
        assert runner.get_tensor(runner.get_output_details()[0]["index"])[0] == pytest.approx(wanted, abs=1e-5)


async def test_an_import_says_what_it_lost(zoo: Zoo) -> None:
    done, _ = await import_h5(zoo, OLD / "keras-2.h5")
    assert [what.split(":")[0] for what in done.lost] == ["the optimizer's state", "how it was compiled"]


async def test_a_layer_that_keras_3_does_not_have_is_refused_with_its_name(zoo: Zoo, tmp_path: Path) -> None:
    source = tmp_path / "old.h5"
    source.write_bytes((OLD / "keras-2.h5").read_bytes())
    with h5py.File(source, "r+") as content:
        content.attrs["model_config"] = content.attrs["model_config"].replace('"ReLU"', '"TFOpLambda"')
    with pytest.raises(ConversionError, match="TFOpLambda") as refused:
        await import_h5(zoo, source)
    assert (refused.value.code, refused.value.final) == ("FormatUnsupported", True)
    assert "\n" not in str(refused.value)
