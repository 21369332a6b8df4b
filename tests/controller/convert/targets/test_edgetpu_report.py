"""What is foretold for the Edge TPU: rule by rule on made-up operators, and on real models that were really quantized."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.making.ranges import as_the_quantizer_has_them, measured
from litefleet_controller.convert.targets.edgetpu_limits import NAMED
from litefleet_controller.convert.targets.edgetpu_report import report
from litefleet_controller.convert.targets.edgetpu_table import table
from litefleet_controller.convert.targets.graph import Graph, Operator, Tensor, read_graph
from litefleet_controller.convert.targets.prediction import Fate, Prediction
from litefleet_controller.convert.tflite.fixing import fixed
from litefleet_controller.convert.tflite.flatbuffer import parse, with_signature
from litefleet_controller.resources.recipe import recipes

IMAGE = (1, 8, 8, 4)


def moving(shape: tuple[int, ...] = IMAGE, index: int = 0, dtype: str = "int8", **more: Any) -> Tensor:
    return Tensor(index, shape, dtype, scales=0 if dtype == "float32" else 1, **more)


def constant(shape: tuple[int, ...], dtype: str = "int8", **more: Any) -> Tensor:
    return Tensor(99, shape, dtype, is_constant=True, **{"scales": 1, **more})


def numbers(*values: int) -> Tensor:
    return Tensor(98, (len(values),), "int32", is_constant=True, values=values)


def conv(given: int = 0, made: int = 1, **options: int) -> Operator:
    tensors = (moving(index=given), constant((4, 3, 3, 4), scales=4), constant((4,), "int32"))
    return Operator("CONV_2D", tensors, (moving(index=made),), SimpleNamespace(**options))


def operator(name: str, *inputs: Tensor, out: Tensor | None = None, version: int = 1, **options: int) -> Operator:
    return Operator(name, inputs or (moving(),), (out or moving(index=1),), SimpleNamespace(**options), version)


def fate(*operators: Operator, inputs: frozenset[int] = frozenset({0})) -> list[Fate]:
    return list(report(Graph(operators, inputs)).fates)


@pytest.mark.parametrize(
    ("op", "code", "reason"),
    [
        (operator("LEAKY_RELU"), "Unsupported", "doesn't have it"),
        (operator("CUSTOM"), "Unsupported", "doesn't have it"),
        (operator("ADD", moving(dtype="float32")), "DataType", "computes in float32"),
        (operator("ADD", moving(dtype="int16")), "DataType", "computes in int16"),
        (operator("ADD", Tensor(0, IMAGE, "int8")), "DataType", "has no scale"),
        (operator("RELU", moving(is_open=True)), "OpenShape", "only when it runs"),
        (operator("ADD", moving((2, 8, 8, 4))), "Rank", r"\[2, 8, 8, 4\]"),
        (operator("AVERAGE_POOL_2D", fusedActivationFunction=3), "Limit", "RELU6 fused"),
        (operator("MAX_POOL_2D", fusedActivationFunction=1), "Limit", "RELU fused"),
        (operator("CONCATENATION", moving(), constant(IMAGE)), "Limit", "joins a constant"),
        (operator("CONCATENATION", moving(), moving(), constant(IMAGE, is_zero=True)), "Limit", "joins a constant"),
        (conv(dilationWFactor=1, dilationHFactor=2), "Limit", "by 2 in height"),
        (operator("CONV_2D", moving(), moving((1, 3, 3, 4))), "Limit", "weights are computed"),
        (operator("FULLY_CONNECTED", moving((1, 4)), constant((9, 4)), weightsFormat=1), "Limit", "shuffled"),
        (operator("FULLY_CONNECTED", moving((3, 4)), constant((9, 4)), out=moving((3, 9))), "Limit", r"\[3, 9\]"),
        (operator("MEAN", moving(), numbers(0, 1)), "Limit", "reduces the batch"),
        (operator("MEAN", moving((1, 8, 8, 6)), numbers(-1)), "Limit", "depth of 6"),
        (operator("REDUCE_MAX", moving(), numbers(0)), "Limit", "reduces the batch"),
        (operator("PACK", moving((8, 4)), out=moving((1, 8, 4)), axis=0), "Limit", "along the batch"),
        (operator("PAD", moving(), numbers(0, 1, 0, 0, 0, 0, 0, 0)), "Limit", "pads the batch"),
        (operator("PRELU", moving(), constant((8, 8, 4))), "Limit", "slopes"),
        (operator("SOFTMAX", moving((1, 8, 10))), "Limit", r"\[1, 8, 10\]"),
        (operator("SOFTMAX", moving((1, 16_001))), "Limit", "16001 inputs"),
        (operator("STRIDED_SLICE", moving(), numbers(0), numbers(1), numbers(2)), "Limit", r"strides \[2\]"),
        (operator("STRIDED_SLICE", moving(), numbers(0), numbers(1), numbers(1), newAxisMask=1), "Limit", "new axis"),
    ],
    ids=lambda v: v.name if isinstance(v, Operator) else None,
)
def test_what_breaks_a_rule_runs_on_the_cpu(op: Operator, code: str, reason: str) -> None:
    (only,) = fate(op)
    assert (only.place, only.code) == ("cpu", code)
    assert re.search(reason, only.reason), only.reason


@pytest.mark.parametrize(
    "op",
    [
        conv(fusedActivationFunction=3),
        conv(dilationWFactor=2, dilationHFactor=2),
        operator("ADD", moving((1, 1, 8, 8, 4))),
        operator("ADD", moving(), constant(IMAGE)),
        operator("CONCATENATION", moving(), constant(IMAGE, is_zero=True)),
        operator("MEAN", moving(), numbers(1, 2)),
        operator("MEAN", moving(), numbers(3)),
        operator("PACK", moving((1, 8)), out=moving((1, 2, 8)), axis=1),
        operator("PAD", moving(), numbers(0, 0, 1, 1, 1, 1, 0, 0)),
        operator("PRELU", moving(), constant((1, 1, 4))),
        operator("SOFTMAX", moving((1, 16_000))),
        operator("STRIDED_SLICE", moving(), numbers(0), numbers(1), numbers(1)),
    ],
    ids=lambda v: v.name,
)
def test_what_holds_the_rules_runs_on_the_tpu(op: Operator) -> None:
    (only,) = fate(op)
    assert (only.place, only.code, only.doubt) == ("accelerator", "", "")


@pytest.mark.parametrize(
    ("op", "doubt"),
    [
        (operator("FULLY_CONNECTED", moving((1, 4)), constant((9, 4), scales=9), out=moving((1, 9))), "9 scales"),
        (operator("RESIZE_BILINEAR", moving(), numbers(16, 16)), "size"),
        (operator("SQUEEZE", moving((5, 1, 10))), "in the middle"),
        (operator("TRANSPOSE"), "not known here"),
        (operator("QUANTIZE", version=3), "refuse version 3"),
    ],
    ids=lambda v: v.name if isinstance(v, Operator) else None,
)
def test_what_nobody_published_is_said_as_a_doubt(op: Operator, doubt: str) -> None:
    (only,) = fate(op, inputs=frozenset())
    assert only.place == "accelerator"
    assert doubt in only.doubt


def test_everything_that_needs_a_fallen_back_result_falls_back_and_what_lies_beside_it_does_not() -> None:
    fates = fate(
        conv(0, 1),
        operator("LEAKY_RELU", moving(index=1), out=moving(index=2)),
        conv(0, 3),
        operator("ADD", moving(index=2), moving(index=3), out=moving(index=4)),
        conv(4, 5),
    )
    assert [f.code for f in fates] == ["", "Unsupported", "", "AfterFallback", "AfterFallback"]
    assert fates[-1].reason == "it needs the result of LEAKY_RELU, which runs on the CPU"


def test_float_at_the_door_ends_nothing_and_float_inside_ends_all() -> None:
    float_in = moving(index=0, dtype="float32")
    door = operator("QUANTIZE", float_in, out=moving(index=1))
    assert [f.code for f in fate(door, conv(1, 2))] == ["DataType", ""]
    assert [f.code for f in fate(door, conv(1, 2), inputs=frozenset())] == ["DataType", "AfterFallback"]


def test_every_rule_of_the_table_is_there_and_every_operator_is_litert_s() -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    for name, operation in table().operations.items():
        assert hasattr(BuiltinOperator, name)
        assert {*operation.limits, *operation.doubts} <= NAMED.keys()
    used = {rule for o in table().operations.values() for rule in (*o.limits, *o.doubts)}
    assert used == NAMED.keys()
    assert table().source.startswith("https://coral.ai/")


def test_shares_count_operators_and_work_and_causes_come_before_consequences() -> None:
    prediction = report(
        Graph((conv(0, 1), operator("LEAKY_RELU", moving(index=1), out=moving(index=2)), conv(2, 3), conv(3, 4)))
    )
    assert prediction.operator_share == 1 / 4
    assert prediction.mac_share == pytest.approx(1 / 3)
    assert prediction.fates[0].macs == 8 * 8 * 4 * 3 * 3 * 4
    assert [(n, k, c) for n, k, c, _ in prediction.fallbacks(9)] == [
        ("LEAKY_RELU", 1, "Unsupported"),
        ("CONV_2D", 2, "AfterFallback"),
    ]
    assert len(prediction.fallbacks(1)) == 1


def test_a_model_without_work_or_operators_has_a_share_all_the_same() -> None:
    assert report(Graph((operator("RELU"),))).mac_share == 1
    assert Prediction(fates=(), source="").mac_share == 0


# --- real models ----------------------------------------------------------------------------------------------------


CALIBRATING = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning")
"""The quantizer looks at every tensor, and LiteRT says that this costs memory."""


def quantized(data: bytes, shape: tuple[int, ...], recipe: str = "int8") -> Prediction:
    base = with_signature(fixed(data), "input", ("output",))
    samples = np.random.default_rng(2).random((4, *shape), dtype=np.float32)
    how = recipes()[recipe]
    ranges = as_the_quantizer_has_them(measured(base, samples)) if how.needs_calibration else None
    return report(read_graph(parse(quantize(base, recipe, how, ranges))))


@pytest.mark.tensorflow
@CALIBRATING
def test_the_digits_model_in_int8_runs_on_the_tpu_and_in_float_not_at_all(workshop: Any) -> None:
    digits = workshop.read("digits.tflite")
    int8 = quantized(digits, (8, 8, 1))
    assert (int8.operator_share, int8.mac_share) == (1, 1)
    assert len(int8.fates) == 12
    # Counted by hand: five convolutions, four depthwise ones, one fully connected.
    assert sum(f.macs for f in int8.fates) == 767_744
    assert [name for name, _, _ in int8.doubts(9)] == ["FULLY_CONNECTED"]
    assert quantized(digits, (8, 8, 1), "float16").operator_share == 0


@pytest.mark.tensorflow
@CALIBRATING
def test_mobilenet_v2_in_int8_runs_on_the_tpu(workshop: Any) -> None:
    prediction = quantized(workshop.read("mobilenet-v2.tflite"), (96, 96, 3))
    assert prediction.fallbacks(9) == []
    assert prediction.mac_share == 1
    assert sum(f.macs for f in prediction.fates) == mobilenet_v2_macs(96, 0.35, classes=10)


def mobilenet_v2_macs(size: int, width: float, classes: int) -> int:
    """Counted from table 2 of the paper (arXiv:1801.04381): expansion, channels, repeats, stride."""

    def channels(n: int) -> int:
        scaled = n * width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    size //= 2
    given = channels(32)
    total = size * size * given * 3 * 3 * 3
    blocks = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, out, repeats, stride in blocks:
        for repeat in range(repeats):
            wide = given * expansion
            total += size * size * given * wide if expansion > 1 else 0
            size //= stride if repeat == 0 else 1
            total += size * size * wide * (3 * 3 + channels(out))
            given = channels(out)
    return total + size * size * given * 1280 + 1280 * classes


@pytest.mark.tensorflow
@CALIBRATING
def test_an_operator_in_the_middle_takes_the_rest_of_the_model_with_it(workshop: Any) -> None:
    prediction = quantized(workshop.read("leaky.tflite"), (8, 8, 1))
    names = [f.name for f in prediction.fates if f.place == "accelerator"]
    assert names == ["CONV_2D", "CONV_2D"]
    # The quantizer has no integer form of it, either, so it stands in float between a DEQUANTIZE and a QUANTIZE.
    assert [(name, code) for name, _, code, _ in prediction.fallbacks(2)] == [
        ("DEQUANTIZE", "Unsupported"),
        ("LEAKY_RELU", "Unsupported"),
    ]
    assert 0 < prediction.mac_share < 1
    after = [name for name, _, code, _ in prediction.fallbacks(9) if code == "AfterFallback"]
    assert after == ["CONV_2D", "FULLY_CONNECTED", "MEAN", "SOFTMAX"]
