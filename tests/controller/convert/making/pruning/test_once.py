"""Pruning without training, of a frozen file: what goes, what stays, what a class gets of it. Without TensorFlow."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from litefleet_controller.convert.interface import ParityLimits
from litefleet_controller.convert.making.pruning.once import layers_of, overall, pruned_once
from litefleet_controller.convert.tflite.flatbuffer import operators, parse
from tests.controller.convert.bench import Bench, ignore
from tests.controller.convert.conftest import Workshop
from tests.controller.convert.frozen import frozen

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), workshop)
    yield made
    await made.converter.close()


async def test_a_share_of_each_large_layer_becomes_zero_and_nothing_else_changes(workshop: Workshop) -> None:
    before = frozen(workshop)
    after = pruned_once(before, 0.5, 1000)
    sparsities = [layer.sparsity for layer in layers_of(after)]
    assert sparsities[0] == 0  # 288 weights
    assert sparsities[1:] == pytest.approx([0.5] * 5, abs=0.001)
    assert overall(layers_of(after)) == pytest.approx(0.5, abs=0.005)
    assert operators(parse(after)) == operators(parse(before))
    changed = [
        (a, b)
        for a, b in zip(parse(before).buffers, parse(after).buffers, strict=True)
        if a.data is not None and np.asarray(a.data).tobytes() != np.asarray(b.data).tobytes()
    ]
    assert len(changed) == 5
    for a, b in changed:
        was, now = (np.asarray(buffer.data).view(np.float32) for buffer in (a, b))
        assert np.abs(was[now == 0]).max() <= np.abs(now[now != 0]).min()
        assert np.array_equal(was[now != 0], now[now != 0])


async def test_without_training_data_a_model_is_pruned_as_far_as_it_bears_and_says_why_no_further(
    bench: Bench,
) -> None:
    made = await bench.make("pruned-int8", source="digits.tflite", source_format="tflite")
    assert made.agreement >= 0.99
    assert made.notes == ("pruned to 20% zeros at once, without training: a .tflite file can't be trained further",)
    assert made.pruned is not None
    assert made.pruned.pruned.sparsity == pytest.approx(0.2, abs=0.005)
    assert (made.pruned.pruned.epochs, made.pruned.pruned.seed) == (0, None)


async def test_what_pruning_saves_is_what_compression_leaves_and_is_held_against_the_unpruned_recipe(
    bench: Bench,
) -> None:
    made = await bench.make("pruned-int8", source="digits.tflite", source_format="tflite")
    plain = await bench.make("int8", source="digits.tflite", source_format="tflite")
    assert plain.cached  # it was needed for the comparison
    assert made.pruned is not None
    against = made.pruned.unpruned
    assert against is not None
    assert (against.recipe, against.size, against.accuracy) == ("int8", plain.size, plain.accuracy)
    assert made.size == plain.size
    assert made.pruned.compressed < 0.95 * against.compressed < plain.size


async def test_recipes_that_prune_alike_share_the_pruned_model(bench: Bench) -> None:
    for recipe in ("pruned-float32", "pruned-float16", "pruned-int8"):
        await bench.make(recipe, source="digits.tflite", source_format="tflite")
    assert len(list((bench.folder / "work" / "cache" / "pruned").iterdir())) == 1


async def test_what_is_quantized_already_is_not_pruned(bench: Bench) -> None:
    outcome = await bench.convert("pruned-int8", source="digits-int8.tflite", source_format="tflite")
    assert [(r.recipe, r.code) for r in outcome.refused] == [("pruned-int8", "AlreadyQuantized")]


async def test_a_class_that_pruning_costs_too_much_is_refused_it_with_the_reason(
    bench: Bench,
) -> None:
    request = await bench.request("pruned-float32", source="digits.tflite", source_format="tflite")
    strict = replace(request, limits=ParityLimits(min_agreement=0.9999, max_accuracy_drop=0.02))
    (refused,) = (await bench.converter.convert(strict, ignore)).refused
    assert refused.code == "ParityFailed"
    assert "can't be trained further" in refused.message
