"""A recipe as data becomes the rule that litert-quantizer itself has for it."""

import pytest
from litert_quantizer import recipe as named

from litefleet_controller.convert.quantize import rule
from litefleet_controller.resources.recipe import recipes


@pytest.mark.parametrize(("ours", "theirs"), [("dynamic-int8", "dynamic_wi8_afp32"), ("int8", "static_wi8_ai8")])
def test_the_rule_is_the_quantizers_own(ours: str, theirs: str) -> None:
    assert [rule(recipes()[ours])] == getattr(named, theirs)()
