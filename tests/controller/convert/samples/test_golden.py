"""Golden samples as the converter writes them."""

import io

import numpy as np
import pytest

from litefleet_controller.convert.samples.golden import golden_file, tolerances
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Tolerance
from litefleet_protocol.limits import MAX_GOLDEN_NUMBERS
from litefleet_protocol.tensors import Quantization, TensorSpec

X = np.ones((10, 8), np.float32)
BOXES = np.random.default_rng(1).normal(100, 40, (10, 16, 4)).astype(np.float32)
MASKS = np.random.default_rng(2).random((10, 64, 64, 16), dtype=np.float32)


def content(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def test_small_outputs_are_kept_whole_and_of_large_ones_some_numbers_from_everywhere() -> None:
    data, samples = golden_file(X, [BOXES, MASKS])
    arrays = content(data)
    assert samples == 4
    assert arrays.keys() == {"x0", "y0", "i1", "y1"}
    assert np.array_equal(arrays["y0"], BOXES[:4])
    places = arrays["i1"]
    assert len(set(places)) == len(places) == MAX_GOLDEN_NUMBERS
    assert np.array_equal(arrays["y1"], MASKS[:4].reshape(4, -1)[:, places])
    assert len(data) < 4 * 2 * MAX_GOLDEN_NUMBERS * 4 + 10_000
    assert np.bincount(places % 16).min() > MAX_GOLDEN_NUMBERS / 16 / 2


def test_the_same_arrays_give_the_same_bytes() -> None:
    assert golden_file(X, [BOXES, MASKS]) == golden_file(X, [BOXES, MASKS])


def test_fewer_samples_are_kept_of_large_inputs_and_none_of_those_past_the_limit() -> None:
    assert golden_file(np.ones((4, 3_000_000 // 4), np.float32), [BOXES])[1] == 2
    with pytest.raises(RungError, match="limit"):
        golden_file(np.ones((1, 3_000_000), np.float32), [BOXES])


def test_each_tensor_may_be_off_by_a_share_of_what_it_reaches() -> None:
    specs = [TensorSpec(name=n, shape=(1, 4), dtype="float32") for n in "ab"]
    quiet = np.full((10, 1), 1e-7, np.float32)
    boxes, scores = tolerances(Tolerance(relative=1e-3), "closeness", [BOXES, quiet], specs)
    assert boxes == pytest.approx(1e-3 * np.abs(BOXES).max())
    assert scores == pytest.approx(1e-6)


def test_classes_are_shares_of_one_and_steps_count_where_they_are_more() -> None:
    scale = Quantization(scale=1 / 256, zero_point=0)
    specs = [TensorSpec(name="y", shape=(1, 4), dtype="int8", quantization=scale)]
    small = np.full((10, 4), 0.01, np.float32)
    assert tolerances(Tolerance(relative=1e-3), "accuracy", [small], specs) == pytest.approx((1e-3,))
    assert tolerances(Tolerance(relative=1e-3, steps=4), "accuracy", [small], specs) == pytest.approx((4 / 256,))
