"""Weights that are stored narrow become float32 again: of what this product's own float16 recipe makes."""

from typing import Any

import numpy as np
import pytest

from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.tflite.flatbuffer import operators, parse
from litefleet_controller.convert.tflite.precision import recipe_of
from litefleet_controller.convert.tflite.widening import is_narrow, widened
from litefleet_controller.resources.recipe import recipes
from tests.controller.convert.frozen import frozen, images

pytestmark = pytest.mark.tensorflow


def test_a_float16_file_becomes_the_float32_model_that_answers_the_same(workshop: Any, tmp_path: Any) -> None:
    narrow = quantize(frozen(workshop), "float16", recipes()["float16"], None)
    assert is_narrow(parse(narrow))
    wide = widened(narrow)
    assert not is_narrow(parse(wide))
    assert recipe_of(parse(wide)) == "float32"
    assert operators(parse(wide)) == operators(parse(frozen(workshop)))
    assert len(wide) == pytest.approx(len(frozen(workshop)), rel=0.05)
    x, answers = images(workshop, "calibration.npz")[:20], []
    for name, data in (("narrow", narrow), ("wide", wide)):
        (tmp_path / name).write_bytes(data)
        answers.append(run(LiteRTRunner(tmp_path / name), x)[0])
    assert np.array_equal(*answers)


@pytest.mark.parametrize("recipe", ["float32", "weight-only-int8", "dynamic-int8"])
def test_what_was_rounded_to_integers_stays_as_it_is(workshop: Any, recipe: str) -> None:
    assert not is_narrow(parse(quantize(frozen(workshop), recipe, recipes()[recipe], None)))
