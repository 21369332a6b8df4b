"""`litefleet explain variant`, on statements as the converter writes them."""

import json
from dataclasses import replace

from litefleet_controller.cli.explaining import lines
from litefleet_controller.convert.cache import FrozenEntry
from litefleet_controller.convert.provenance import adopted, adoption_statement, recorded, statement
from litefleet_controller.convert.targets.interface import Targeted
from litefleet_controller.reconcile.variants import variant
from tests.controller.cli.conftest import Shell, manifest
from tests.controller.convert.known import ADOPTED, ADOPTED_KEY, digest, entry, key, made

URI = "blob://" + digest("a")
VERSION = manifest(
    "ModelVersion",
    "digits-v1",
    f"modelRef: digits\nversion: 1\nsource: {{uri: {URI}, format: keras}}\nevaluation: {{uri: {URI}}}\noutput: {{labels: [a, b]}}",
)


def prepared(shell: Shell) -> bytes:
    document = statement(key(), entry(), entry().files, entry().toolchain)
    path = shell.directory / "statement"
    path.write_bytes(document)
    kept = shell.controller.run(shell.controller.blobs.put(document))
    shell.ok("apply", "-f", shell.write("version.yaml", VERSION))
    found = variant(made(entry(), recorded(key(), entry(), kept)), digest("7"))
    choice = {"objective": "size", "reason": "int8 is the smallest", "latencyFrom": "Nowhere"}
    entry_of_class = {"deviceClass": "pi", "state": "Ready", "variant": found.dump(), "choice": choice}
    shell.set_status("ModelVersion", "digits-v1", {"classes": [entry_of_class]})
    return document


def test_the_chain_is_shown_from_the_variant_back_to_the_model(shell: Shell) -> None:
    prepared(shell)
    said = shell.ok("explain", "variant", "dddddd")
    labels = [line.split(":")[0] for line in said.splitlines() if not line.startswith(" ")]
    assert labels == [
        "Variant", "Recipe", "Calibration", "Evaluation", "Frozen", "Source", "Model", "Made", "By", "Contained", "Used by",
    ]  # fmt: skip
    assert f"Calibration: {digest('c')}, the first 100 samples" in said
    assert "2026-03-01T12:00:00Z to 2026-03-01T12:00:24.500000Z: freeze 4.5 s, calibrate 4.5 s, make 4.5 s" in said
    assert "litert-quantizer 0.11" in said
    assert "network: namespace; all held" in said
    assert f"digits-v1/pi, artifact {digest('7')}: 0 boards serve it" in said
    assert "picked for size: int8 is the smallest" in said


def test_the_statement_alone_is_printed_as_it_is_kept(shell: Shell) -> None:
    document = prepared(shell)
    assert shell.ok("explain", "variant", "digits-v1/pi", "-o", "statement").rstrip("\n").encode() == document
    assert json.loads(shell.ok("explain", "variant", "digits-v1/pi", "-o", "json"))["statement"] == json.loads(document)


def test_a_file_that_was_compiled_elsewhere_leads_back_to_the_model_that_it_was_held_against(shell: Shell) -> None:
    frozen = FrozenEntry(model=digest("f"), answers=digest("5"), classes=10, recipe="float32", step=entry().steps[0])
    document = adoption_statement(ADOPTED_KEY, ADOPTED, frozen, {"litefleet": "0.1.0"}, {})
    kept = shell.controller.run(shell.controller.blobs.put(document))
    shell.ok("apply", "-f", shell.write("version.yaml", VERSION))
    whole = replace(
        made(entry(), adopted(ADOPTED_KEY, ADOPTED, frozen, kept, {})),
        recipe="prebuilt",
        files=ADOPTED.files,
        agreement=None,
        accuracy=None,
        target=Targeted("edgetpu", "Available", message="a board's own check decides", findings=ADOPTED.findings),
    )
    of_class = {"deviceClass": "coral", "state": "Ready", "variant": variant(whole, digest("7")).dump()}
    shell.set_status("ModelVersion", "digits-v1", {"classes": [of_class]})
    said = shell.ok("explain", "variant", "digits-v1/coral")
    labels = [line.split(":")[0] for line in said.splitlines() if not line.startswith(" ")]
    assert labels == [
        "Variant", "Recipe", "Prebuilt", "Not run", "Evaluation", "Frozen", "Source", "Model", "Made", "By", "Contained",
        "Used by",
    ]  # fmt: skip
    assert "prebuilt for litert, 4.9 KiB; read, and not run by the controller" in said
    assert f"Prebuilt:    {digest('6')} (spec.prebuilt.edgetpu)" in said
    assert "Not run:     a board's own check decides" in said
    assert "freeze 4.5 s, check 4.5 s" in said


def test_a_variant_that_answers_tensors_is_said_to_be_as_near_as_its_outputs() -> None:
    v = {"digest": digest("d"), "recipe": "int8", "runtime": "litert", "sizeBytes": 10, "agreement": 1.0}
    v |= {"accuracy": None, "closeness": [{"output": "boxes", "meanError": 0.02}]}
    said = lines({"variant": v, "provenance": None, "statement": None, "statementTrouble": "why", "uses": []})
    assert said[1].strip() == "int8 for litert, 10 B; boxes is off by 2.0% of its spread"
    assert said[2] == "Provenance:  why"


def test_what_is_not_there_is_one_line(shell: Shell) -> None:
    assert "(NotFound)" in shell.refused("explain", "variant", "digits-v9/pi")
    assert "six digits" in shell.refused("explain", "variant", "x y")
    assert "text, json or statement" in shell.refused("explain", "variant", "abcdef", "-o", "yaml", code=2)
