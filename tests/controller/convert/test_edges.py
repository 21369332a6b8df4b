"""What may go in and out of a source, by the metric."""

import pytest

from litefleet_controller.convert.edges import Edge, check_edges, names_of
from litefleet_controller.convert.interface import ConversionError, Metric

IMAGE = Edge("image", (None, 8, 8, 1), "float32")
PROBABILITIES = Edge("probabilities", (None, 10), "float32")
BOXES, SCORES = Edge("boxes", (1, 896, 16), "float32"), Edge("scores", (1, 896, 1), "int8", is_scaled=True)


def test_a_classifier_has_one_output_of_so_many_classes() -> None:
    assert check_edges([IMAGE], [PROBABILITIES], "accuracy") == 10


@pytest.mark.parametrize(
    "outputs", [[BOXES, SCORES], [PROBABILITIES], [Edge("count", (), "int64")], [Edge("mask", (1, 4, 4), "bool")]]
)
def test_whatever_has_a_fixed_shape_can_be_compared_by_closeness(outputs: list[Edge]) -> None:
    assert check_edges([IMAGE], outputs, "closeness") == 0


@pytest.mark.parametrize(
    ("inputs", "outputs", "metric", "code", "says"),
    [
        ([IMAGE, Edge("mask", (1, 8), "float32")], [BOXES], "closeness", "FormatUnsupported",
         "has 2 inputs (image float32 [?, 8, 8, 1], mask float32 [1, 8]); this version serves models with one input"),
        ([], [BOXES], "closeness", "FormatUnsupported", "has 0 inputs"),
        ([IMAGE], [], "closeness", "FormatUnsupported", "no output"),
        ([IMAGE], [BOXES, SCORES], "accuracy", "FormatUnsupported", "has 2 outputs (boxes float32 [1, 896, 16], scores"),
        ([IMAGE], [BOXES], "accuracy", "FormatUnsupported", "a classifier has one (batch, classes)"),
        ([IMAGE], [Edge("y", (None, None), "float32")], "accuracy", "BadShape", "number of classes must be fixed"),
        ([IMAGE], [Edge("boxes", (1, None, 4), "float32")], "closeness", "BadShape", "gives boxes float32 [1, ?, 4]"),
        ([IMAGE], [Edge("words", (1, 4), "string")], "closeness", "BadShape", "gives words string [1, 4]"),
        ([IMAGE], [Edge("y", (1, 4), "int8")], "accuracy", "BadShape", "float32 or quantized with a scale"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_by_name_and_shape(
    inputs: list[Edge], outputs: list[Edge], metric: Metric, code: str, says: str
) -> None:
    with pytest.raises(ConversionError) as refused:
        check_edges(inputs, outputs, metric)
    assert refused.value.code == code
    assert says in str(refused.value)
    assert refused.value.final


def test_a_classifiers_refusal_says_what_to_write_for_other_models() -> None:
    with pytest.raises(ConversionError) as refused:
        check_edges([IMAGE], [BOXES, SCORES], "accuracy")
    assert "kind: none" in refused.value.hint


def test_outputs_of_one_name_get_numbers() -> None:
    assert names_of([Edge("y", (1,), "float32"), Edge("y", (1,), "float32"), BOXES]) == ("y_0", "y_1", "boxes")
