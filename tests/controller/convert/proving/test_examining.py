"""How a variant answers beside its source: confusion, confidence and layers, and what bounds the document."""

import numpy as np
import pytest

from litefleet_controller.artifacts.examination import (
    BINS,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_LAYERS,
    MAX_NAME,
    MAX_OUTPUTS,
    MAX_PAIRS,
    Examination,
    LayerError,
    Pair,
    decode,
    encode,
)
from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.proving.examining import Layers, examined
from litefleet_controller.convert.proving.layererrors import layer_errors
from litefleet_controller.resources.recipe import recipes
from tests.controller.convert.conftest import Workshop
from tests.controller.convert.frozen import frozen, images, ranges

NO_LAYERS = Layers()


def answers(*tops: int, classes: int = 3, confidence: float = 0.8) -> np.ndarray:
    """Probabilities whose largest is at `tops`."""
    rest = (1 - confidence) / (classes - 1)
    made = np.full((len(tops), classes), rest, np.float32)
    made[np.arange(len(tops)), tops] = confidence
    return made


def compared(source: np.ndarray, variant: np.ndarray, layers: Layers = NO_LAYERS) -> Examination:
    return examined("accuracy", ["probabilities"], [source], [variant], 0.0, layers)


def test_agreement_and_confusion_are_counted_by_class() -> None:
    found = compared(answers(0, 0, 1, 2, 2, 2), answers(0, 1, 1, 0, 0, 2))
    assert (found.samples, found.classes, found.disagreements) == (6, 3, 3)
    assert found.agreed == (1, 1, 1)
    assert found.pairs == (Pair(2, 0, 2), Pair(0, 1, 1))


def test_confidence_is_counted_in_bins_for_both() -> None:
    found = compared(answers(0, 1, confidence=0.99), answers(0, 1, confidence=0.62))
    assert found.source_confidence[-1] == 2
    assert found.confidence[12] == 2  # 0.60 to 0.65
    assert sum(found.confidence) == sum(found.source_confidence) == 2
    assert not found.is_softmaxed


def test_logits_become_probabilities_in_both() -> None:
    logits = np.array([[0.0, 9.0, -3.0], [5.0, 0.0, 0.0]], np.float32)
    found = compared(logits, logits)
    assert found.is_softmaxed
    assert found.confidence[-1] == 2


def test_probabilities_that_rounding_brought_over_one_stay_in_the_last_bin() -> None:
    source, variant = answers(0, confidence=0.99), answers(0, confidence=0.99)
    variant[0, 0] = 1.003
    assert compared(source, variant).confidence[-1] == 1


def test_the_largest_document_stays_within_its_bounds() -> None:
    random = np.random.default_rng(1)
    one, other = (random.random((20_000, MAX_CLASSES), dtype=np.float32) for _ in range(2))
    worst = LayerError("n" * MAX_NAME, "DEPTHWISE_CONV_2D", "float32", 1.23456e-12)
    found = compared(one, other, Layers((worst,) * MAX_LAYERS, 9, 8))
    assert len(found.pairs) == MAX_PAIRS
    assert len(found.agreed) == MAX_CLASSES
    data = encode(found)
    assert len(data) < MAX_BYTES
    assert decode(data) == found


def test_more_classes_than_there_is_room_for_leave_the_frequent_pairs() -> None:
    classes = MAX_CLASSES + 1
    found = compared(answers(0, 1, classes=classes), answers(0, 1000, classes=classes))
    assert found.agreed == ()
    assert found.pairs == (Pair(1, 1000, 1),)
    assert len(found.confidence) == BINS


def test_numbers_that_are_no_classes_are_counted_by_value_an_output_each() -> None:
    boxes = np.linspace(0, 200, 40, dtype=np.float32).reshape(10, 4)
    found = examined("closeness", ["boxes", "scores"], [boxes, boxes / 200], [boxes + 300, boxes / 200], 0.9, Layers())
    assert (found.samples, found.classes, found.disagreements, found.confidence) == (10, 0, 1, ())
    first, second = found.values
    assert (first.output, first.low, first.high) == ("boxes", 0.0, 200.0)
    assert first.variant == (0,) * (BINS - 1) + (40,)
    assert first.source == (2,) * BINS == second.variant


def test_a_constant_output_and_many_outputs_have_a_place() -> None:
    same = np.full((5, 2), 3.0, np.float32)
    found = examined("closeness", ["y"] * 20, [same] * 20, [same] * 20, 1.0, Layers())
    assert len(found.values) == MAX_OUTPUTS
    assert sum(found.values[0].variant) == 10


def test_what_is_too_large_or_something_else_is_not_decoded() -> None:
    with pytest.raises(ValueError, match="at most"):
        decode(b" " * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="samples"):
        decode(b"{}")


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")  # the quantizer's way to calibrate
def test_each_layer_of_an_int8_model_is_compared_with_the_float_one(workshop: Workshop) -> None:
    float_model, x = frozen(workshop), images(workshop, "calibration.npz")[:8]
    how = recipes()["int8"]
    made = quantize(float_model, "int8", how, ranges(workshop, how))
    found, left_out = layer_errors(float_model, made, x)
    assert (len(found), left_out) == (12, 0)
    assert [e.operator for e in found[:2]] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    assert {e.dtype for e in found} == {"int8"}
    assert all(1e-4 < e.error < 0.5 for e in found)
    same, _ = layer_errors(float_model, float_model, x)
    assert [e.error for e in same] == [0.0] * 12


@pytest.mark.tensorflow
def test_a_model_that_can_not_be_run_has_no_layers(workshop: Workshop) -> None:
    x = images(workshop, "calibration.npz")[:1]
    assert layer_errors(frozen(workshop), frozen(workshop, "mobilenet-v2.tflite"), x) == ((), 0)
