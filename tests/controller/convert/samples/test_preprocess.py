"""Pre-processing: resize, channels, scale and offset, in that order, and nothing silently reshaped."""

import numpy as np
import pytest

from litefleet_controller.convert.samples.preprocess import ShapeError, prepare
from litefleet_protocol.tensors import Preprocess

GREY = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)


def test_scale_and_offset_are_applied_in_float32() -> None:
    result = prepare(GREY, Preprocess(scale=0.5, offset=-1.0), (1, 8, 8, 1))
    assert result.dtype == np.float32
    assert result[1, 7, 7, 0] == 127 * 0.5 - 1


def test_grey_images_get_the_channel_axis_that_the_model_wants() -> None:
    assert prepare(GREY, Preprocess(), (1, 8, 8, 1)).shape == (2, 8, 8, 1)


def test_grey_becomes_three_equal_channels() -> None:
    result = prepare(GREY, Preprocess(channels=3), (1, 8, 8, 3))
    assert (result[..., 0] == result[..., 2]).all()


def test_colours_become_luma() -> None:
    red = np.zeros((1, 2, 2, 3), np.float32)
    red[..., 0] = 100
    assert prepare(red, Preprocess(channels=1), (1, 2, 2, 1)) == pytest.approx(29.9)


def test_transparency_is_dropped() -> None:
    rgba = np.ones((1, 2, 2, 4), np.float32)
    assert prepare(rgba, Preprocess(channels=3), (1, 2, 2, 3)).shape == (1, 2, 2, 3)


def test_features_pass_as_they_are() -> None:
    assert prepare(np.ones((5, 3)), Preprocess(scale=2.0), (1, 3)).tolist() == [[2.0] * 3] * 5


def test_resizing_comes_before_scaling() -> None:
    result = prepare(GREY, Preprocess(resize=(4, 4), scale=10.0), (1, 4, 4, 1))
    assert result[0, 0, 0, 0] == pytest.approx(10 * GREY[0, :2, :2].mean())


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", [(18, 14), (4, 3), (9, 20), (5, 7)])
def test_resizing_is_what_tensorflow_calls_bilinear(workshop, size: tuple[int, int]) -> None:
    with np.load(workshop.folder / "resized.npz") as data:
        images, expected = data["images"], data[f"{size[0]}x{size[1]}"]
    result = prepare(images, Preprocess(resize=size), (1, *size, 3))
    np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "spec", "wanted"),
    [
        ((5,), Preprocess(), (1, 8, 8, 1)),
        ((5, 9, 9), Preprocess(), (1, 8, 8, 1)),
        ((5, 64), Preprocess(), (1, 8, 8, 1)),
        ((5, 8, 8, 1), Preprocess(), (1, 64)),
        ((5, 64), Preprocess(resize=(8, 8)), (1, 64)),
        ((5, 8, 8, 2), Preprocess(channels=3), (1, 8, 8, 3)),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], spec: Preprocess, wanted: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        prepare(np.zeros(shape, np.float32), spec, wanted)


def test_a_misfit_names_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"\(5, 9, 9\), and the model takes \(N, 8, 8, 1\)"):
        prepare(np.zeros((5, 9, 9)), Preprocess(), (1, 8, 8, 1))
