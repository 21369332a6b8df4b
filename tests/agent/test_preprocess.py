"""Pre- and post-processing: the arithmetic of the manifest's rules."""

import msgspec
import numpy as np
import pytest

from litefleet_agent.pipeline.postprocess import read
from litefleet_agent.pipeline.preprocess import Preparation, prepare
from litefleet_agent.runtime.interface import ModelError
from litefleet_agent.runtime.quantization import quantized
from litefleet_protocol.tensors import Postprocess, Preprocess, Quantization, TensorSpec

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


FLOAT = TensorSpec(name="x", shape=(1, 2, 2, 3), dtype="float32")
INTEGERS = [
    msgspec.structs.replace(FLOAT, dtype="int8", quantization=Quantization(scale=1 / 255, zero_point=-128)),
    msgspec.structs.replace(FLOAT, dtype="int8", quantization=Quantization(scale=0.03, zero_point=7)),
    msgspec.structs.replace(FLOAT, dtype="uint8", quantization=Quantization(scale=0.01, zero_point=128)),
    msgspec.structs.replace(FLOAT, dtype="uint8"),
]
RULES = [
    Preprocess(),
    Preprocess(scale=1 / 255),
    Preprocess(scale=1 / 3, offset=-1.5),
    Preprocess(channels=3, resize=(2, 2), scale=1 / 255),
]


@pytest.mark.parametrize("spec", [FLOAT, *INTEGERS])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("raw", [RGB, RGB[np.newaxis], RGB.transpose(1, 0, 2), RGB[:, :, ::-1], RGB + np.uint8(244)])
def test_pixels_written_in_place_are_what_preparation_and_quantization_give(raw, rules, spec):
    write = Preparation(rules, [spec]).in_place(raw)
    into = np.full(raw.size, 9, spec.dtype)
    write(raw, into)
    np.testing.assert_array_equal(into, quantized(prepare(raw, rules, spec.shape), spec).reshape(-1))


@pytest.mark.parametrize(
    ("raw", "rules"),
    [
        (RGB.astype(np.int32), Preprocess()),
        (RGB.astype(np.float32), Preprocess()),
        (RGB[:, :1], Preprocess()),
        (RGB.reshape(3, 4), Preprocess(channels=3)),
        (RGB.reshape(4, 1, 3), Preprocess(resize=(2, 2))),
        (RGB, Preprocess(channels=1)),
    ],
)
def test_what_is_no_image_of_the_right_size_is_not_written_in_place(raw, rules):
    assert Preparation(rules, [FLOAT]).in_place(raw) is None


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
