"""Pruning with training, on real digits: what is made, what it costs, what is said of it. In real workers."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from litefleet_controller.convert.interface import ConversionRequest, ParityLimits, Progress, TrainingSet
from tests.controller.convert.bench import Bench, ignore

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), workshop)
    yield made
    await made.converter.close()


async def request(bench: Bench, *ladder: str, data: str = "training.npz", **training: Any) -> ConversionRequest:
    digest = await bench.blobs.put(bench.workshop.read(data))
    trained_on = TrainingSet(digest, **{"samples": 10_000, **training})
    return replace(await bench.request(*ladder), training=trained_on)


async def test_three_quarters_of_the_weights_go_while_the_model_is_trained_and_its_answers_stay(bench: Bench) -> None:
    seen: list[Progress] = []
    made = (await bench.converter.convert(await request(bench, "pruned-int8"), seen.append)).made
    assert made is not None
    assert made.accuracy >= made.source_accuracy - 0.01
    assert made.agreement >= 0.96
    assert made.pruned is not None
    pruned, against = made.pruned.pruned, made.pruned.unpruned
    assert pruned.sparsity == pytest.approx(0.75, abs=0.01)
    assert [round(layer.sparsity, 2) for layer in pruned.layers] == [0.75] * 6
    assert (pruned.epochs, pruned.samples, pruned.seed) == (8, 1200, 1)
    assert made.notes == ("pruned to 75% zeros in 8 epochs of training on 1200 samples",)
    assert against is not None
    assert made.pruned.compressed < 0.65 * against.compressed
    percents = [p.percent for p in seen]
    assert percents == sorted(percents)
    assert {"training epoch 1/8", "calibrating", "quantizing", "evaluating"} <= {p.stage for p in seen}


async def test_recipes_that_prune_alike_train_once(bench: Bench) -> None:
    before = await bench.converter.convert(await request(bench, "pruned-int8"), ignore)
    seen: list[Progress] = []
    made = (await bench.converter.convert(await request(bench, "pruned-float16"), seen.append)).made
    assert made is not None
    assert before.made is not None
    assert made.pruned is not None
    assert before.made.pruned is not None
    assert made.pruned.pruned == before.made.pruned.pruned
    assert not [p.stage for p in seen if "training" in p.stage]


async def test_the_model_says_how_long_is_trained_and_the_same_training_gives_the_same_bytes(bench: Bench) -> None:
    cache = bench.folder / "work" / "cache"

    def two_epochs() -> dict[str, Any]:
        entries = [json.loads(entry.read_bytes()) for entry in (cache / "pruned").iterdir()]
        (found,) = [entry for entry in entries if entry["pruned"]["epochs"] == 2]
        return found

    asked = await request(bench, "pruned-float32", samples=320, epochs=2)
    await bench.converter.convert(asked, ignore)
    before = two_epochs()
    assert before["pruned"]["samples"] == 320
    for kind in ("pruned", "variants"):
        for entry in (cache / kind).iterdir():
            entry.unlink()
    await bench.converter.convert(asked, ignore)
    assert two_epochs()["model"] == before["model"]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.ones((40, 9, 9)), "y": np.zeros(40)}, "x has the shape"),
        ({"x": np.ones((40, 8, 8)), "y": np.full(40, 10)}, "the model knows 0 to 9"),
        ({"x": np.full((40, 8, 8), np.nan), "y": np.zeros(40)}, "NaN or infinity"),
        ({"x": np.ones((40, 8, 8))}, "it has no array 'y'"),
    ],
)
async def test_training_data_that_is_no_good_costs_the_rung_alone(
    bench: Bench, arrays: dict[str, Any], says: str
) -> None:
    path = bench.folder / "training-bad.npz"
    np.savez(path, **arrays)
    trained_on = TrainingSet(await bench.blobs.put(path.read_bytes()), 100)
    asked = replace(await bench.request("pruned-float32", "float32"), training=trained_on)
    outcome = await bench.converter.convert(asked, ignore)
    assert outcome.made is not None
    assert outcome.made.recipe == "float32"
    assert [r.code for r in outcome.refused] == ["TrainingInvalid"]
    assert says in outcome.refused[0].message


async def test_a_model_without_half_of_its_filters_is_smaller_as_it_is_and_still_answers(bench: Bench) -> None:
    asked = replace(await request(bench, "channel-pruned-int8"), limits=ParityLimits(0.9, 0.05))
    made = (await bench.converter.convert(asked, ignore)).made
    assert made is not None
    assert made.pruned is not None
    against = made.pruned.unpruned
    assert against is not None
    assert made.accuracy >= made.source_accuracy - 0.03
    assert made.size < 0.6 * against.size
    pruned = made.pruned.pruned
    assert (pruned.method, pruned.epochs) == ("channels", 12)
    assert pruned.sparsity > 0.5
    assert [layer.sparsity for layer in pruned.layers] == [0.5] * len(pruned.layers)


@pytest.mark.parametrize(
    ("source", "source_format", "training", "code"),
    [
        ("digits.keras", "keras", False, "TrainingMissing"),
        ("digits.tflite", "tflite", True, "PruningUnsupported"),
        ("digits.zip", "savedModel", True, "PruningUnsupported"),
    ],
)
async def test_filters_go_out_of_a_keras_file_with_training_data_only(
    bench: Bench, source: str, source_format: str, training: bool, code: str
) -> None:
    asked = await bench.request("channel-pruned-float32", source=source, source_format=source_format)
    given = (await request(bench)).training if training else None
    (refused,) = (await bench.converter.convert(replace(asked, training=given), ignore)).refused
    assert refused.code == code
