"""A recipe as data becomes the rules that litert-quantizer itself has for it."""

import pytest
from litert_quantizer import recipe as named

from litefleet_controller.convert.making.quantize import rules
from litefleet_controller.resources.recipe import recipes

EDGES = [{"regex": ".*", "operation": edge, "algorithm_key": "no_quantize"} for edge in ("INPUT", "OUTPUT")]


@pytest.mark.parametrize(
    ("ours", "theirs", "more", "smallest"),
    [
        ("dynamic-int8", "dynamic_wi8_afp32", [], 1024),
        ("weight-only-int8", "weight_only_wi8_afp32", [], 1024),
        ("int8", "static_wi8_ai8", [], 0),
        ("int8-float", "static_wi8_ai8", EDGES, 0),
        ("int16x8", "static_wi8_ai16", EDGES, 0),
    ],
)
def test_the_rules_are_the_quantizers_own_but_for_the_smallest_tensor(
    ours: str, theirs: str, more: list[dict[str, str]], smallest: int
) -> None:
    wanted = [*getattr(named, theirs)(), *more]
    wanted[0]["op_config"]["min_weight_elements"] = smallest
    assert rules(recipes()[ours]) == wanted
