"""Pre- and post-processing: the arithmetic of the manifest's rules."""

import numpy as np
import pytest

from litefleet_agent.pipeline.postprocess import read
from litefleet_agent.pipeline.preprocess import Preparation, prepare
from litefleet_agent.runtime.interface import ModelError
from litefleet_protocol.tensors import Postprocess, Preprocess

RGB = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)


@pytest.mark.parametrize(
    ("raw", "rules", "shape", "expected"),
    [
        (np.array([[0, 8], [16, 4]], np.uint8), Preprocess(scale=1 / 16), (1, 2, 2, 1), [0, 0.5, 1, 0.25]),
        (np.array([[1, 2]], np.uint8), Preprocess(scale=2, offset=-1), (1, 1, 2, 1), [1, 3]),
        (np.array([[255]], np.uint8), Preprocess(channels=3), (1, 1, 1, 3), [255, 255, 255]),
        (RGB[:1, :1], Preprocess(channels=1), (1, 1, 1, 1), [0.299 * 0 + 0.587 * 1 + 0.114 * 2]),
        (np.zeros((1, 1, 4), np.uint8), Preprocess(channels=3), (1, 1, 1, 3), [0, 0, 0]),
        (np.array([[0, 4]], np.uint8), Preprocess(resize=(1, 4)), (1, 1, 4, 1), [0, 1, 3, 4]),
        (np.array([1.0, 2.0, 3.0, 4.0]), Preprocess(channels=1), (1, 4), [1, 2, 3, 4]),
    ],
)
def test_input_is_prepared_as_the_manifest_says(raw, rules, shape, expected):
    prepared = prepare(raw, rules, shape)
    assert (prepared.shape, prepared.dtype) == (shape, np.float32)
    assert prepared.reshape(-1).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rules", [Preprocess(), Preprocess(scale=1 / 255), Preprocess(scale=1 / 3, offset=-1.5)])
@pytest.mark.parametrize("raw", [RGB, RGB.transpose(1, 0, 2), RGB[:, :, ::-1], RGB.reshape(-1), RGB.astype(np.int32)])
def test_memory_that_is_used_again_holds_what_one_preparation_gives(raw, rules):
    again = Preparation(rules, (1, 2, 2, 3))
    again(np.full((2, 2, 3), 9, np.uint8))
    np.testing.assert_array_equal(again(raw), prepare(raw, rules, (1, 2, 2, 3)))


@pytest.mark.parametrize(
    ("raw", "rules", "shape"),
    [
        (np.zeros(5), Preprocess(), (1, 4)),
        (np.zeros((2, 2, 2)), Preprocess(channels=1), (1, 2, 2, 1)),
        (np.zeros(4), Preprocess(resize=(2, 2)), (1, 2, 2, 1)),
    ],
)
def test_input_that_does_not_fit_is_refused(raw, rules, shape):
    with pytest.raises(ModelError) as caught:
        prepare(raw, rules, shape)
    assert caught.value.code == "BadShape"


def test_logits_become_a_probability_and_a_label():
    reading = read([np.array([[0.0, 2.0, 0.0]], np.float32)], Postprocess(activation="softmax", labels=("a", "b", "c")))
    assert (reading.label, round(reading.confidence, 4)) == ("b", round(np.e**2 / (np.e**2 + 2), 4))


def test_class_without_a_label_is_its_number():
    assert read([np.array([[0, 0, 1]], np.float32)], Postprocess(labels=("a",))).label == "2"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_output_that_is_not_finite_is_bad(bad):
    with pytest.raises(ModelError) as caught:
        read([np.array([[0, bad]], np.float32)], Postprocess())
    assert caught.value.code == "BadOutput"
