"""What may go in and out of a source, by the metric."""

import pytest

from litefleet_controller.convert.interface import ConversionError, Metric
from litefleet_controller.convert.opening.edges import Edge, check_outputs, input_shape, names_of

IMAGE = Edge("image", (None, 8, 8, 1), "float32")
PROBABILITIES = Edge("probabilities", (None, 10), "float32")
BOXES, SCORES = Edge("boxes", (1, 896, 16), "float32"), Edge("scores", (1, 896, 1), "int8", is_scaled=True)


def test_a_classifier_has_one_output_of_so_many_classes() -> None:
    assert check_outputs([PROBABILITIES], "accuracy") == 10


@pytest.mark.parametrize(
    "outputs", [[BOXES, SCORES], [PROBABILITIES], [Edge("count", (), "int64")], [Edge("mask", (1, 4, 4), "bool")]]
)
def test_whatever_has_a_fixed_shape_can_be_compared_by_closeness(outputs: list[Edge]) -> None:
    assert check_outputs(outputs, "closeness") == 0


@pytest.mark.parametrize(
    ("outputs", "metric", "code", "says"),
    [
        ([], "closeness", "FormatUnsupported", "no output"),
        ([BOXES, SCORES], "accuracy", "FormatUnsupported", "has 2 outputs (boxes float32 [1, 896, 16], scores int8"),
        ([BOXES], "accuracy", "FormatUnsupported", "a classifier has one (batch, classes)"),
        ([Edge("y", (None, None), "float32")], "accuracy", "BadShape", "number of classes must be fixed"),
        ([Edge("boxes", (1, None, 4), "float32")], "closeness", "BadShape", "gives boxes float32 [1, ?, 4]"),
        ([Edge("words", (1, 4), "string")], "closeness", "BadShape", "gives words string [1, 4]"),
        ([Edge("y", (1, 4), "int8")], "accuracy", "BadShape", "float32 or quantized with a scale"),
    ],
)
def test_other_outputs_are_refused_by_name_and_shape(outputs: list[Edge], metric: Metric, code: str, says: str) -> None:
    with pytest.raises(ConversionError) as refused:
        check_outputs(outputs, metric)
    assert refused.value.code == code
    assert says in str(refused.value)
    assert refused.value.final


@pytest.mark.parametrize(
    ("given", "wanted", "shape"),
    [
        (IMAGE, None, (1, 8, 8, 1)),
        (IMAGE, (8, 8, 1), (1, 8, 8, 1)),
        (Edge("sound", (None, None), "float32"), (1280,), (1, 1280)),
        (Edge("windows", (8, 16, 96), "float32"), None, (1, 16, 96)),
    ],
)
def test_the_input_has_a_batch_of_one_and_what_is_open_is_asked_for(
    given: Edge, wanted: tuple[int, ...] | None, shape: tuple[int, ...]
) -> None:
    assert input_shape([given], wanted) == shape


@pytest.mark.parametrize(
    ("inputs", "wanted", "code", "says"),
    [
        ([IMAGE, Edge("mask", (1, 8), "float32")], None, "FormatUnsupported",
         "has 2 inputs (image float32 [?, 8, 8, 1], mask float32 [1, 8]); this version serves models with one input"),
        ([], None, "FormatUnsupported", "has 0 inputs"),
        ([Edge("sound", (None, None), "float32")], None, "BadShape", "every dimension but the batch must be a number"),
        ([Edge("sound", (16000,), "float32")], None, "BadShape", "must have a batch and one dimension more"),
        ([IMAGE], (9, 9, 1), "BadShape", "takes image float32 [?, 8, 8, 1], and spec.input.shape (without the batch) is [9"),
        ([IMAGE], (8, 8), "BadShape", "is [8, 8]"),
    ],
)  # fmt: skip
def test_other_inputs_are_refused(inputs: list[Edge], wanted: tuple[int, ...] | None, code: str, says: str) -> None:
    with pytest.raises(ConversionError) as refused:
        input_shape(inputs, wanted)
    assert refused.value.code == code
    assert says in str(refused.value)


def test_an_open_dimension_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConversionError) as refused:
        input_shape([Edge("sound", (None, None), "float32")], None)
    assert "spec.input.shape" in refused.value.hint


def test_a_classifiers_refusal_says_what_to_write_for_other_models() -> None:
    with pytest.raises(ConversionError) as refused:
        check_outputs([BOXES, SCORES], "accuracy")
    assert "kind: none" in refused.value.hint


def test_outputs_of_one_name_get_numbers() -> None:
    assert names_of([Edge("y", (1,), "float32"), Edge("y", (1,), "float32"), BOXES]) == ("y_0", "y_1", "boxes")
