"""The statement about a variant: what it was made of, by what and when."""

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import msgspec

from litefleet_controller.convert.interface import ModelFile
from litefleet_controller.convert.provenance import recipe_digest, recorded, statement
from litefleet_controller.resources.recipe import recipes
from tests.controller.convert.known import BEGAN, digest, entry, key


def said(recipe: str = "int8", *, calibrated: bool = True) -> Any:
    made = entry(calibrated=calibrated)
    return json.loads(statement(key(recipe), made, made.files, made.toolchain))


def named(resources: list[dict[str, Any]]) -> dict[str, str]:
    return {r["name"]: r["digest"]["sha256"] for r in resources}


def test_a_statement_is_about_the_variants_files_and_names_all_that_they_were_made_of() -> None:
    document = said()
    assert (document["_type"], document["predicateType"]) == (
        "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1",
    )  # fmt: skip
    assert named(document["subject"]) == {"model.tflite": "d" * 64}
    build = document["predicate"]["buildDefinition"]
    materials = named(build["resolvedDependencies"])
    assert materials.pop("recipe int8") == recipe_digest(recipes()["int8"]).removeprefix("sha256:")
    assert materials == {"source": "a" * 64, "evaluation": "b" * 64, "calibration": "c" * 64}
    assert build["internalParameters"]["environment"]["PYTHONHASHSEED"] == "0"
    assert build["internalParameters"]["recipe"]["weights"]["dtype"] == "int8"
    byproducts = named(document["predicate"]["runDetails"]["byproducts"])
    assert byproducts == {"frozen.tflite": "f" * 64, "ranges.json": "9" * 64, "golden.npz": "e" * 64}


def test_a_statement_says_with_which_versions_and_when_from_the_first_step_to_the_last() -> None:
    details = said()["predicate"]["runDetails"]
    assert {"litefleet", "python", "tensorflow", "litert-quantizer"} == details["builder"]["version"].keys()
    assert details["metadata"]["startedOn"] == "2026-03-01T12:00:00Z"
    assert details["metadata"]["finishedOn"] == "2026-03-01T12:00:24.500000Z"
    assert [s["name"] for s in details["metadata"]["litefleet_steps"]] == ["freeze", "calibrate", "make"]
    assert details["metadata"]["litefleet_steps"][0]["containment"]["network"] == "namespace"


def test_what_was_not_used_is_not_named() -> None:
    assert "calibration" not in named(
        said("float16", calibrated=False)["predicate"]["buildDefinition"]["resolvedDependencies"]
    )
    # A quantized source needs no calibration, though its recipe would.
    assert "calibration" not in named(
        said("int8", calibrated=False)["predicate"]["buildDefinition"]["resolvedDependencies"]
    )
    assert recorded(key("int8"), entry(calibrated=False), digest("0")).calibration is None


def test_the_same_is_the_same_document_byte_for_byte() -> None:
    assert statement(key(), entry(), entry().files, {}) == statement(key(), entry(), entry().files, {})


def test_a_compiled_file_is_the_subject_and_what_it_was_compiled_from_a_byproduct() -> None:
    document = json.loads(statement(key(), entry(), (ModelFile("model.tflite", digest("1"), 50_000),), {}))
    assert named(document["subject"]) == {"model.tflite": "1" * 64}
    assert named(document["predicate"]["runDetails"]["byproducts"])["before compilation: model.tflite"] == "d" * 64


def test_a_recipes_digest_hangs_on_what_it_says_alone() -> None:
    how = recipes()["int8"]
    assert recipe_digest(how) == recipe_digest(msgspec.convert(msgspec.to_builtins(how), type(how)))
    assert recipe_digest(how) != recipe_digest(msgspec.structs.replace(how, edges="float32"))


def test_a_status_has_the_digests_and_the_times() -> None:
    short = asdict(recorded(key(), entry(), digest("0")))
    assert short == {
        "statement": digest("0"), "source": digest("a"), "recipe": recipe_digest(recipes()["int8"]), "frozen": digest("f"),
        "evaluation": digest("b"), "calibration": digest("c"), "training": None, "started": BEGAN,
        "finished": BEGAN + timedelta(seconds=24.5), "prebuilt": None,
    }  # fmt: skip


def test_a_data_set_of_images_is_named_as_it_was_pushed_and_as_the_arrays_that_were_made_of_it() -> None:
    pushed = {digest("b"): digest("7")}
    materials = json.loads(statement(key(), entry(), entry().files, {}, pushed))["predicate"]["buildDefinition"]
    found = named(materials["resolvedDependencies"])
    assert (found["evaluation"], found["evaluation, as arrays"], found["calibration"]) == ("7" * 64, "b" * 64, "c" * 64)
    assert recorded(key(), entry(), digest("0"), pushed).evaluation == digest("7")
