"""Every architecture, built as on the command line and through the whole of conversion, in one warm worker."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from litefleet_controller.convert.interface import Made, ParityLimits
from litefleet_controller.convert.tasks import MODEL_FILE, Build, Built
from litefleet_controller.convert.zoo.every import ARCHITECTURES
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
        built, source = await self.bench.ask(
            lambda folder: Build(folder=str(folder), architecture=name, **task), MODEL_FILE
        )
        assert isinstance(built, Built)
        return built, source

    async def built(self, name: str) -> tuple[Built, bytes]:
        if name not in self._built:
            self._built[name] = await self.build(name)
        return self._built[name]

    async def convert(self, name: str, recipe: str) -> Made:
        _, source = await self.built(name)
        images = await self.bench.blobs.put(self._images)
        request = replace(
            await self.bench.request(recipe, calibration=None),
            source=await self.bench.blobs.put(source),
            evaluation=images,
            calibration=images,
            calibration_samples=8,
            preprocess=Preprocess(),
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


async def test_the_same_seed_gives_the_same_weights(zoo: Zoo) -> None:
    async def weights(seed: int) -> bytes:
        _, source = await zoo.build("squeezenet", classes=10, seed=seed)
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            return archive.read("model.weights.h5")

    first = await weights(1)
    assert await weights(1) == first
    assert await weights(2) != first


@each
async def test_an_input_of_odd_size_can_be_built(zoo: Zoo, known: Architecture) -> None:
    built, _ = await zoo.build(known.name, shape=(45, 29, 1), classes=10, width=known.widths[0])
    assert built.left_out == known.halvings - 3
