"""From outputs to an answer."""

import numpy as np
import pytest

from litefleet_agent.pipeline.postprocess import Reading, read
from litefleet_agent.runtime.interface import ModelError
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Postprocess

LABELLED = Postprocess(labels=("a", "b", "c"))
RAW = Postprocess(kind="none")


def f32(*values):
    return np.array([values], np.float32)


def test_largest_score_names_the_class():
    assert read([f32(0.1, 0.7, 0.2)], LABELLED) == Reading("b", pytest.approx(0.7))


def test_softmax_turns_logits_into_a_confidence():
    answer = read([f32(1000, 1001, 1000)], Postprocess(labels=("a", "b", "c"), activation="softmax"))
    assert (answer.label, answer.confidence) == ("b", pytest.approx(np.e / (np.e + 2)))


def test_class_past_the_labels_is_named_by_its_number():
    assert read([f32(0, 0, 0, 1)], LABELLED).label == "3"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("rules", [LABELLED, RAW], ids=["classes", "raw"])
def test_output_that_is_not_finite_is_bad_wherever_it_stands(bad, place, rules):
    spoiled = f32(1, 2, 3)
    spoiled[0, place] = bad
    for outputs in ([spoiled], [f32(1, 2, 3), spoiled]):
        with pytest.raises(ModelError) as caught:
            read(outputs, rules)
        assert caught.value.code == Code.BAD_OUTPUT


def test_largest_numbers_are_finite():
    assert read([f32(3e38, -3e38, 1)], LABELLED).label == "a"


def test_nothing_to_classify_by_is_bad_and_empty_raw_tensors_are_not():
    for outputs in ([], [np.empty((1, 0), np.float32)]):
        with pytest.raises(ModelError):
            read(outputs, LABELLED)
        assert read(outputs, RAW) == Reading()
