"""What may go to a class, as a table; and what is known of interpreters."""

from dataclasses import replace

import msgspec
import pytest

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import ConversionError, ModelFile
from litefleet_controller.convert.judging.admission import Board, admit, check_labels
from litefleet_controller.convert.judging.runtimes import litert
from litefleet_controller.resources.release import Release
from litefleet_protocol.tensors import Signature, TensorSpec
from tests.controller.convert.figures import HINT

DIGEST = "sha256:" + "0" * 64
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 8, 8, 1), dtype="float32"),),
    outputs=(TensorSpec(name="y", shape=(1, 10), dtype="float32"),),
)
DYNAMIC = VariantEntry(
    files=(ModelFile("model.tflite", DIGEST, 1000),), golden=DIGEST, golden_size=10, golden_samples=4, examination=DIGEST, golden_tolerance=1e-3,
    signature=SIGNATURE, operators={"CONV_2D": 5, "FULLY_CONNECTED": 1},
    operator_versions={"CONV_2D": 5, "FULLY_CONNECTED": 12}, traits=(), arena_bytes=500, agreement=0.98, accuracy=0.96,
    source_accuracy=0.97, evaluated=400, classes=10, toolchain={}, hint=HINT,
)  # fmt: skip
HALVES = msgspec.structs.replace(
    DYNAMIC, operator_versions={"CONV_2D": 1, "DEQUANTIZE": 3}, traits=("float16-convolution",)
)
BOARD = Board("pi", max_artifact_bytes=1000, max_memory_bytes=1500)


def test_a_variant_at_its_limits_is_admitted() -> None:
    assert admit("dynamic-int8", DYNAMIC, BOARD) is None


def test_limits_that_are_not_set_refuse_nothing() -> None:
    assert admit("dynamic-int8", DYNAMIC, Board("pi")) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"files": (ModelFile("model.xml", DIGEST, 400), ModelFile("model.bin", DIGEST, 601))},
            "dynamic-int8 has 1001 bytes; the class takes 1000",
        ),
        (
            {"arena_bytes": 501},
            "1501 bytes of memory (1000 for the file and 501 for activations); the class has 1500",
        ),
    ],
)
def test_what_is_too_large_is_refused_with_both_numbers(changes: dict[str, int], says: str) -> None:
    refused = admit("dynamic-int8", msgspec.structs.replace(DYNAMIC, **changes), BOARD)
    assert refused is not None
    assert refused.code == "TooLarge"
    assert says in refused.message


@pytest.mark.parametrize(
    ("version", "is_admitted"),
    [
        (None, True),
        ("2.14.0", False),
        ("tflite-runtime==2.14.0", False),
        ("1.0", True),
        ("1.0.1", True),
        ("2.3.0", True),
        ("ai-edge-litert 2.99", True),  # newer than any that is known here: has what those before it had
    ],
)
def test_an_operator_that_the_classs_runtime_lacks_is_refused(version: str | None, is_admitted: bool) -> None:
    refused = admit("dynamic-int8", DYNAMIC, replace(BOARD, runtime_version=version))
    assert (refused is None) == is_admitted


def test_a_refused_operator_is_named_with_version_class_and_what_the_runtime_has() -> None:
    refused = admit("dynamic-int8", DYNAMIC, replace(BOARD, runtime_version="tflite-runtime 2.14.0"))
    assert refused is not None
    assert (refused.recipe, refused.code) == ("dynamic-int8", "UnsupportedOp")
    assert refused.message == (
        "dynamic-int8 needs FULLY_CONNECTED version 12 (which came with ai-edge-litert 1.0; there it is version 10 at "
        "most); class pi has tflite-runtime 2.14.0"
    )


@pytest.mark.parametrize(
    ("operator", "says"),
    [
        ("STABLEHLO_ADD", "STABLEHLO_ADD version 1 (which came with ai-edge-litert 1.0; there it is missing)"),
        ("OPERATOR_999", "OPERATOR_999 version 1 (which no release known here has; there it is missing)"),
    ],
)
def test_an_operator_that_a_runtime_has_not_at_all_is_refused(operator: str, says: str) -> None:
    entry = msgspec.structs.replace(DYNAMIC, operator_versions={operator: 1})
    refused = admit("float32", entry, replace(BOARD, runtime_version="2.14"))
    assert refused is not None
    assert says in refused.message


@pytest.mark.parametrize(
    ("version", "is_admitted"), [("2.14.0", True), ("1.0.1", True), ("1.1.0", False), ("1.3.0", False), ("1.4.0", True)]
)
def test_what_a_release_gets_wrong_is_kept_from_it(version: str, is_admitted: bool) -> None:
    refused = admit("float16", HALVES, replace(BOARD, runtime_version=version))
    assert (refused is None) == is_admitted
    if refused is not None:
        assert refused.code == "UnsupportedOp"
        assert "on ai-edge-litert 1." in refused.message
        assert "ai-edge-litert 1.4 is free of that" in refused.message


@pytest.mark.parametrize("version", ["tflite-runtime 2.5.0", "2.13.1"])
def test_a_runtime_older_than_all_that_are_known_gets_nothing(version: str) -> None:
    refused = admit("float32", HALVES, replace(BOARD, runtime_version=version))
    assert refused is not None
    assert refused.code == "UnsupportedRuntime"
    assert "before tflite-runtime 2.14 can run isn't known" in refused.message


def test_versions_of_other_engines_say_nothing_of_litert_operators() -> None:
    assert admit("dynamic-int8", DYNAMIC, Board("x86", runtime="openvino", runtime_version="2024.1")) is None


def test_a_dimension_that_is_not_fixed_is_refused() -> None:
    open_ = Signature(inputs=(TensorSpec(name="x", shape=(1, -1, 8, 1), dtype="float32"),), outputs=SIGNATURE.outputs)
    refused = admit("float32", msgspec.structs.replace(DYNAMIC, signature=open_), BOARD)
    assert refused is not None
    assert refused.code == "BadShape"
    assert "[1, -1, 8, 1]" in refused.message


def test_more_labels_than_classes_are_refused_for_good() -> None:
    check_labels(["a"] * 10, 10)
    check_labels([], 10)
    with pytest.raises(ConversionError, match=r"tells 10 classes apart, and spec\.output\.labels has 11") as refused:
        check_labels(["a"] * 11, 10)
    assert (refused.value.code, refused.value.final) == ("SignatureChanged", True)


def test_releases_stand_in_the_order_of_their_time() -> None:
    known = litert().releases
    assert list(known) == sorted(known)
    assert known[0] == Release("tflite-runtime", (2, 14))


def test_no_operator_loses_a_version() -> None:
    for name, raised in litert().operators.items():
        assert list(raised) == sorted(raised), name
        assert len({version for _, version in raised}) == len(raised), name
