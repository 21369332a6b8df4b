"""Taking filters out: how many, which, and that nothing else changes. Keras' part was done by make_models.py."""

import json

import numpy as np
import pytest

from litefleet_controller.convert.making.pruning.channels import indices_of, strongest
from litefleet_controller.convert.making.pruning.topology import Channels, Segment
from tests.controller.convert.conftest import Workshop


def test_the_strongest_stay_in_their_order() -> None:
    assert strongest(np.array([3, 1, 2, 5, 0, 4], np.float32), 0.5, 1).tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    ("filters", "share", "left"), [(32, 0.5, 16), (20, 0.5, 16), (24, 0.5, 16), (8, 0.9, 8), (4, 0.5, 4)]
)
def test_what_stays_is_rounded_up_to_what_kernels_like(filters: int, share: float, left: int) -> None:
    assert len(strongest(np.arange(filters, dtype=np.float32), share, 8)) == left


def test_indices_follow_segments_and_pixels() -> None:
    axis = Channels((Segment("", 2), Segment("a", 3), Segment("b", 2)), repeats=2)
    kept = {"a": np.array([0, 2]), "b": np.array([1])}
    assert indices_of(axis, kept).tolist() == [0, 1, 2, 4, 6, 7, 8, 9, 11, 13]


@pytest.mark.parametrize("name", ["plain", "inverted-residuals", "fire"])
def test_filters_that_do_nothing_are_those_that_go_and_the_answers_stay(workshop: Workshop, name: str) -> None:
    said = json.loads(workshop.read("thinned.json"))[name]
    assert said["left"] < 0.8 * said["weights"]
    assert said["difference"] < 1e-5
    assert said["answers"] > 100 * said["difference"]


def test_a_family_whose_channels_are_added_up_is_refused_with_the_layers_in_the_way(workshop: Workshop) -> None:
    said = json.loads(workshop.read("thinned.json"))["residual"]
    assert said["code"] == "PruningUnsupported"
    assert "could be taken out with whole filters" in said["message"]
    assert "(which go into Add" in said["message"]
