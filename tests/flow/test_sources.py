"""Models that aren't `.keras` files, from the folder on a laptop to a real agent that answers with them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from litefleet_controller.cli.demo.digits import DataSets, write_data_sets
from litefleet_controller.resources.recipe import candidates as recipes_for
from tests.controller.convert.bench import endless
from tests.flow.fleet import Fleet, Json, fleet

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
BOARD, CLASS, SLOT = "e-pi-1", "raspberry-pi-4", "meter"
ENOUGH = 100
"""Answers to judge a version by: at 20 a second it takes five seconds to have them."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSets:
    return write_data_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, data: DataSets) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    command = [sys.executable, "-m", "tests.flow.exporting", str(folder), str(data.training)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, data: DataSets) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        running.cli("apply", "-f", str(ROOT / "manifests" / "classes" / f"{CLASS}.yaml"))
        running.enroll(BOARD, CLASS, "line-e")
        running.run_board(BOARD, data.live, slot=SLOT)
        yield running


def assert_answers_well(running: Fleet, version: str) -> None:
    """The board answers with `version`, and says of nearly every image what it shows: names end in the digit."""

    def rows() -> list[Json]:
        return [r for r in running.answers(BOARD) if r.get("version") == version]

    running.wait(f"answers of {version}", lambda: len(rows()) >= ENOUGH)
    right = [row["label"] == Path(row["input"]).stem[-1] for row in rows()]
    assert sum(right) / len(right) > 0.9


def variant(running: Fleet, version: str) -> Json:
    (entry,) = running.status("modelversions", version)["classes"]
    return dict(entry)


def release(running: Fleet, source: Json, version: str) -> None:
    # A merge patch leaves what it doesn't name, and a signature is for SavedModels.
    running.change("models", SLOT, {"source": {"signature": None, **source}})
    running.wait(version, lambda: running.status("models", SLOT)["latestVersion"]["name"] == version)


def test_example_05_a_saved_models_folder_reaches_a_board_that_answers(
    line: Fleet, data: DataSets, exported: Path
) -> None:
    documents = list(yaml.safe_load_all((ROOT / "manifests" / "examples" / "05-saved-model.yaml").read_text()))
    spec = documents[0]["spec"]
    spec["source"]["uri"] = line.push(exported / "exported")
    spec["evaluation"]["uri"], spec["calibration"]["uri"] = line.push(data.evaluation), line.push(data.calibration)
    path = line.directory / "05.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    line.cli("apply", "-f", str(path))
    line.wait("meter-v1", lambda: line.slot(BOARD, SLOT).get("currentVersion") == "meter-v1")
    made = variant(line, "meter-v1")["variant"]
    assert made["recipe"] == "int8"
    assert made["agreement"] >= 0.95
    assert "tensorflow" in made["toolchain"]
    assert_answers_well(line, "meter-v1")
    line.wait("the rollout", lambda: line.status("modelrollouts", SLOT).get("phase") == "Healthy")


def test_a_tflite_file_reaches_the_board_and_takes_the_slot_over(line: Fleet, exported: Path) -> None:
    release(line, {"uri": line.push(exported / "converted.tflite"), "format": "tflite"}, "meter-v2")
    line.wait("meter-v2", lambda: line.slot(BOARD, SLOT).get("currentVersion") == "meter-v2")
    made = variant(line, "meter-v2")["variant"]
    assert made["recipe"] == "int8"
    assert made["agreement"] >= 0.95
    assert "tensorflow" not in made["toolchain"]
    assert_answers_well(line, "meter-v2")
    line.wait("the rollout", lambda: line.status("modelrollouts", SLOT).get("phase") == "Healthy")


def test_a_tflite_file_that_crashes_litert_is_refused_after_one_try(line: Fleet) -> None:
    path = line.directory / "endless.tflite"
    path.write_bytes(endless())
    release(line, {"uri": line.push(path), "format": "tflite"}, "meter-v3")
    line.wait("a decision", lambda: line.status("modelversions", "meter-v3").get("phase") == "Refused")
    entry = variant(line, "meter-v3")
    assert (entry["state"], entry["code"], entry["attempts"]) == ("Refused", "ModelCrashed", 1)
    assert line.slot(BOARD, SLOT)["currentVersion"] == "meter-v2"


def test_example_06_a_class_that_leaves_the_choice_to_measurement_gets_the_best_and_its_report(
    line: Fleet, exported: Path
) -> None:
    line.cli("apply", "-f", str(ROOT / "manifests" / "examples" / "06-best-variant.yaml"))
    line.change("deviceclasses", CLASS, {"variants": ["auto"], "objective": "accuracy"})
    release(line, {"uri": line.push(exported / "converted.tflite"), "format": "tflite"}, "meter-v4")
    line.wait("meter-v4", lambda: line.slot(BOARD, SLOT).get("currentVersion") == "meter-v4")
    entry = variant(line, "meter-v4")
    candidates = {c["recipe"]: c for c in entry["candidates"]}
    assert set(candidates) == set(recipes_for("litert", "cpu"))
    assert candidates[entry["variant"]["recipe"]]["verdict"] == "Picked"
    assert (entry["choice"]["objective"], entry["choice"]["latencyFrom"]) == ("accuracy", "Here")
    # The board ran int8 of the version before, which counts for this one.
    assert candidates["int8"]["boards"]["version"] in ("meter-v1", "meter-v2")
    assert candidates["int8"]["boards"]["inferences"] >= ENOUGH
    out = line.directory / "report.html"
    table = line.cli("model", "report", SLOT, "--out", str(out))
    assert f"{CLASS}: {entry['variant']['recipe']}, for accuracy: {entry['choice']['reason']}" in table
    assert "Error of each layer" in out.read_text(encoding="utf-8")
