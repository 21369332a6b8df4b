"""A recipe as data becomes the rules that litert-quantizer itself has for it."""

import pytest
from litert_quantizer import recipe as named

from litefleet_controller.convert.making.quantize import rules
from litefleet_controller.resources.recipe import recipes

EDGES = [{"regex": ".*", "operation": edge, "algorithm_key": "no_quantize"} for edge in ("INPUT", "OUTPUT")]


@pytest.mark.parametrize(
    ("ours", "theirs", "more"),
    [
        ("dynamic-int8", "dynamic_wi8_afp32", []),
        ("weight-only-int8", "weight_only_wi8_afp32", []),
        ("int8", "static_wi8_ai8", []),
        ("int8-float", "static_wi8_ai8", EDGES),
        ("int16x8", "static_wi8_ai16", EDGES),
    ],
)
def test_the_rules_are_the_quantizers_own(ours: str, theirs: str, more: list[dict[str, str]]) -> None:
    assert rules(recipes()[ours]) == [*getattr(named, theirs)(), *more]
