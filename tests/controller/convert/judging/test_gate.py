"""The parity gate as a table."""

import msgspec
import pytest

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import Measure, ModelFile, OutputCloseness, ParityLimits
from litefleet_controller.convert.judging.gate import judge
from litefleet_protocol.tensors import Signature
from tests.controller.convert.figures import HINT

DIGEST = "sha256:" + "0" * 64
GOOD = VariantEntry(
    files=(ModelFile("model.tflite", DIGEST, 1000),), golden=DIGEST, golden_size=10, golden_samples=4, examination=DIGEST,
    golden_tolerance=1e-3, signature=Signature(inputs=(), outputs=()), operators={}, operator_versions={}, traits=(),
    arena_bytes=500, agreement=0.98, accuracy=0.96,
    source_accuracy=0.97, evaluated=400, classes=10, toolchain={}, hint=HINT,
)  # fmt: skip
LIMITS = ParityLimits(min_agreement=0.95, max_accuracy_drop=0.02)


def test_a_variant_at_its_limits_is_taken() -> None:
    assert judge("int8", GOOD, LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (
            {"agreement": 0.312, "accuracy": 0.3},
            "ParityFailed",
            "int8 agrees with the source on 31.2% of 400 samples; the class asks for 95%; accuracy 0.300 against 0.970",
        ),
        ({"agreement": 0.9499}, "ParityFailed", "on 94.9% of"),
        ({"accuracy": 0.9}, "ParityFailed", "accuracy 0.900 against 0.970 (allowed drop 0.02)"),
    ],
)
def test_a_refusal_has_both_numbers(changes: dict[str, float], code: str, says: str) -> None:
    refused = judge("int8", msgspec.structs.replace(GOOD, **changes), LIMITS)
    assert refused is not None
    assert refused.code == code
    assert says in refused.message


def test_a_variant_better_than_its_source_is_taken() -> None:
    assert judge("int8", msgspec.structs.replace(GOOD, accuracy=1.0), LIMITS) is None


def close(**changes: float) -> VariantEntry:
    boxes = OutputCloseness(output="boxes", spread=40.0, mean_error=0.02, worst_error=0.3, sqnr_db=31.0)
    scores = OutputCloseness(output="scores", spread=0.2, mean_error=0.15, worst_error=0.2, sqnr_db=12.0)
    scores = msgspec.structs.replace(scores, **changes)
    return msgspec.structs.replace(
        GOOD, agreement=0.8, accuracy=None, source_accuracy=None, closeness=(boxes, scores),
        measure=Measure("closeness", 0.1),
    )  # fmt: skip


def test_tensors_that_are_off_are_refused_with_the_worst_output() -> None:
    refused = judge("int8", close(), LIMITS)
    assert refused is not None
    assert (
        "agrees with the source on 80.0% of 400 samples; the class asks for 95%; output 'scores' is off by 0.15 of "
        in (refused.message)
    )
    assert "at worst (tolerance 0.1)" in refused.message
    assert "accuracy" not in refused.message


def test_an_output_that_hardly_varies_raises_a_doubt_about_the_set() -> None:
    refused = judge("int8", close(spread=1e-5), LIMITS)
    assert refused is not None
    assert "does the evaluation set hold samples that it reacts to?" in refused.message


def test_accuracy_is_not_asked_of_tensors() -> None:
    assert judge("int8", close(), ParityLimits(0.8, 0.0)) is None
