"""Versions from types and options: as TensorFlow's converter writes them, and higher where the quantizer forgot to."""

import pytest

from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize
from litefleet_controller.convert.tflite.opversions import Site, _needed, needed_versions, traits, with_needed_versions
from litefleet_controller.resources.recipe import Recipe, recipes
from tests.controller.convert.conftest import Workshop
from tests.controller.convert.frozen import frozen, ranges

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors"),  # the quantizer's way to calibrate
]


def declared_versions(data: bytes) -> dict[str, int]:
    """Those above 1."""
    model = parse(data)
    codes = {operator_name(model, o): model.operatorCodes[o.opcodeIndex] for o in model.subgraphs[0].operators}
    return {name: code.version for name, code in codes.items() if code.version > 1}


@pytest.mark.parametrize("name", ["digits.tflite", "digits-int8.tflite", "flattening.tflite"])
def test_what_tensorflow_wrote_is_what_is_needed(workshop: Workshop, name: str) -> None:
    model = parse(workshop.read(name))
    graph = model.subgraphs[0]
    written = [
        (operator_name(model, operator), model.operatorCodes[operator.opcodeIndex].version, Site(graph, operator))
        for operator in graph.operators
    ]
    assert len(written) > 3
    for operator, version, site in written:
        assert _needed(operator, site) == version, operator


@pytest.mark.parametrize(
    ("recipe", "needs"),
    [
        ("float32", {}),
        ("float16", {"DEQUANTIZE": 3}),
        ("dynamic-int8", {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "FULLY_CONNECTED": 12}),
        ("int8", {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "MEAN": 2, "SOFTMAX": 2}),
    ],
)
def test_each_recipe_needs_its_versions_and_the_file_says_so(
    workshop: Workshop, recipe: str, needs: dict[str, int]
) -> None:
    how = recipes()[recipe]
    raw = quantize(frozen(workshop), recipe, how, ranges(workshop, how))
    assert {name: v for name, v in needed_versions(parse(raw)).items() if v > 1} == needs
    assert declared_versions(with_needed_versions(raw)) == needs


def test_a_file_that_says_what_it_needs_stays_as_it_is(workshop: Workshop) -> None:
    data = workshop.read("digits-int8.tflite")
    assert with_needed_versions(data) is data


def test_a_file_that_says_more_than_it_needs_is_taken_at_its_word(workshop: Workshop) -> None:
    model = parse(workshop.read("digits.tflite"))
    model.operatorCodes[0].version = 7
    assert 7 in needed_versions(parse(serialize(model))).values()


def test_only_convolutions_with_halves_have_that_trait(workshop: Workshop) -> None:
    how: Recipe = recipes()["float16"]
    assert traits(parse(quantize(frozen(workshop), "float16", how, None))) == ("float16-convolution",)
    assert traits(parse(frozen(workshop))) == ()
    assert traits(parse(quantize(frozen(workshop, "flattening.tflite"), "float16", how, None))) == ()


def test_the_rules_speak_of_operators_that_exist() -> None:
    from litefleet_controller.convert.judging.runtimes import litert
    from litefleet_controller.convert.tflite.opversions import _FIRST_INPUT, _RULES

    assert not (_FIRST_INPUT.keys() | _RULES.keys()) - litert().operators.keys()
    newest = litert().releases[-1]
    for name, versions in _FIRST_INPUT.items():
        assert max(versions.values()) <= litert().highest(name, newest), name
