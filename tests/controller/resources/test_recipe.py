"""Recipes: each file is one, and says what it is."""

import re
from pathlib import Path

import msgspec
import pytest

from litefleet_controller.resources.device import DeviceClassSpec, DeviceClassStatus
from litefleet_controller.resources.modelcheck import model_check
from litefleet_controller.resources.recipe import Recipe, candidates, read_recipes, recipes
from litefleet_controller.resources.registry import DEVICE_CLASS

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
        assert ("training data" in needs) == (recipes()[name].pruning is not None), name


def test_a_pruned_recipe_is_compared_with_one_that_quantizes_alike_and_prunes_nothing() -> None:
    pruned = {name: recipe for name, recipe in recipes().items() if recipe.pruning is not None}
    assert {"pruned-float16", "pruned-int8"} <= set(pruned)
    for name, recipe in pruned.items():
        assert recipe.unpruned is not None, name
        plain = recipes()[recipe.unpruned]
        assert (
            msgspec.structs.replace(recipe, summary=plain.summary, pruning=None, unpruned=None, auto=plain.auto)
            == plain
        ), name


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


def causes(**spec: object) -> list[tuple[str, str, str]]:
    return [(c.field, c.code, c.message) for c in DEVICE_CLASS.check("spec", spec)] if DEVICE_CLASS.check else []


def test_a_class_may_leave_the_choice_to_measurement() -> None:
    assert causes(variants=["auto"]) == []
    assert causes(variants=["auto"], objective="latency") == []


@pytest.mark.parametrize(
    ("spec", "field", "code", "says"),
    [
        ({"variants": ["auto", "int8"]}, "spec.variants", "Invalid", "auto stands alone: write [auto], or a ladder"),
        ({"variants": ["int8"], "objective": "size"}, "spec.objective", "Invalid", "only variants: [auto] has an objective"),
        ({"variants": ["auto"], "objective": "speed"}, "spec.objective", "NotSupported", "'latency', 'size' or 'accuracy'"),
        (
            {"variants": ["auto"], "runtime": "openvino", "accelerator": {"kind": "edgetpu"}},
            "spec.variants",
            "NoCandidates",
            "no recipe is a candidate for the runtime openvino on edgetpu",
        ),
    ],
)  # fmt: skip
def test_an_auto_that_can_not_be_meant_is_refused_with_its_place(
    spec: dict[str, object], field: str, code: str, says: str
) -> None:
    ((found, with_code, message),) = causes(**spec)
    assert (found, with_code) == (field, code)
    assert says in message


def test_auto_without_its_brackets_is_told_how_to_write_it() -> None:
    body = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "DeviceClass", "metadata": {"name": "pi"}}
    (cause,) = DEVICE_CLASS.schema.validate({**body, "spec": {"variants": "auto"}})
    assert (cause.field, cause.code) == ("spec.variants", "TypeError")
    assert cause.message.endswith('must be of type array: "string"; write [auto]')


def test_candidates_suit_the_runtime_and_the_accelerator() -> None:
    assert candidates("litert", "edgetpu") == ("int8",)
    assert "int16x8" not in candidates("litert", "cpu")
    assert {"float32", "float16", "dynamic-int8", "int8", "mixed-int8"} <= set(candidates("litert", "cpu"))
    assert candidates("openvino", "myriad") == ("openvino-float16",)
    assert all(recipes()[name].engine == "onnxruntime" for name in candidates("onnxruntime", "cpu"))
