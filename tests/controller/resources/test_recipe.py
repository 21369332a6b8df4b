"""Recipes: each file is one, and says what it is."""

import re
from pathlib import Path

import msgspec
import pytest

from litefleet_controller.resources.device import DeviceClassSpec, DeviceClassStatus
from litefleet_controller.resources.modelcheck import model_check
from litefleet_controller.resources.recipe import Recipe, read_recipes, recipes

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


def test_every_file_is_a_recipe_with_a_line_for_people() -> None:
    assert {"float32", "float16", "dynamic-int8", "int8"} <= set(recipes())
    for name, recipe in recipes().items():
        assert recipe.summary, name
        assert 0 < recipe.tolerance.relative < 0.1, name


def test_only_fixed_ranges_need_calibration() -> None:
    assert {name for name, recipe in recipes().items() if recipe.needs_calibration} >= {"int8"}
    assert not recipes()["dynamic-int8"].needs_calibration


def test_a_file_with_a_word_too_many_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="sparsty"):
        msgspec.yaml.decode(
            b"summary: x\nweights: {dtype: int8, sparsty: 1}\nactivations: int8\ntolerance: {relative: 0.01}",
            type=Recipe,
        )


def test_adding_a_file_adds_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "coarse-int8.yaml").write_text(
        "summary: one scale a tensor\nweights: {dtype: int8, granularity: tensor}\nactivations: dynamic\n"
        "tolerance: {relative: 0.05}\n"
    )
    (tmp_path / "README.md").write_text("not one")
    (read,) = read_recipes(tmp_path).items()
    assert read[0] == "coarse-int8"
    assert read[1].weights.granularity == "tensor"


def test_the_page_on_recipes_has_every_recipe_with_its_summary_and_needs() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \| .+ \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert {name: summary for name, summary, _ in rows} == {name: r.summary for name, r in recipes().items()}
    for name, _, needs in rows:
        assert ("calibration data" in needs) == recipes()[name].needs_calibration, name


def test_a_ladder_with_an_unknown_recipe_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"'int9' is no recipe; there are .*dynamic-int8"):
        DeviceClassSpec.model_validate({"variants": ["int9"]})


def test_a_rung_for_another_engine_names_its_place_and_what_to_write() -> None:
    body = {"runtime": "openvino", "variants": ["openvino-float16", "int8"]}
    causes = model_check(DeviceClassSpec, DeviceClassStatus)("spec", body)
    assert [(c.field, c.code) for c in causes] == [("spec.variants[1]", "WrongRuntime")]
    assert "int8 is made for the runtime litert" in causes[0].message
    assert "openvino-float16, openvino-float32, or set spec.runtime to litert" in causes[0].message


def test_every_engine_has_a_ladder_that_its_classes_take() -> None:
    for engine in ("litert", "openvino", "onnxruntime"):
        ladder = [name for name, recipe in recipes().items() if recipe.engine == engine]
        assert model_check(DeviceClassSpec, DeviceClassStatus)("spec", {"runtime": engine, "variants": ladder}) == []
