"""Boards that run OpenVINO and ONNX Runtime, through a rollout: converted, served, and a bad version taken back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.controller.convert.conftest import workshop  # noqa: F401 - a fixture: the trained network, and its data
from tests.flow import guarded
from tests.flow.fleet import Fleet, Json, fleet

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(600)]

CLASSES = Path(__file__).parents[2] / "manifests" / "classes"
BOARDS = {"e-openvino-1": "generic-x86-openvino", "e-onnx-1": "generic-x86-onnx"}
ENGINES = {"e-openvino-1": "openvino", "e-onnx-1": "onnxruntime"}
SCALE = 1 / 16
LIVE = 40
BRIGHT = "bright"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Path:  # noqa: F811
    """Digits, and one image that is all white."""
    folder = tmp_path_factory.mktemp("live")
    with np.load(workshop.folder / "evaluation.npz") as data:
        for n in range(LIVE):
            np.save(folder / f"{n:03d}.npy", data["x"][n])
    np.save(folder / f"{BRIGHT}.npy", np.full((8, 8), 16, np.float32))
    return folder


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, live: Path) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        for name, device_class in BOARDS.items():
            running.cli("apply", "-f", str(CLASSES / f"{device_class}.yaml"))
            running.enroll(name, device_class, "line-e")
            running.run_board(name, live)
        yield running


def source_answers(model: Path, live: Path) -> dict[str, np.ndarray]:
    """What the source itself says to each live input."""
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(given["index"], [1, 8, 8, 1])
    interpreter.allocate_tensors()
    answers = {}
    for path in live.iterdir():
        interpreter.set_tensor(given["index"], (np.load(path) * np.float32(SCALE)).reshape(1, 8, 8, 1))
        interpreter.invoke()
        answers[path.stem] = interpreter.get_tensor(made["index"])[0].copy()
    return answers


def answers_of(running: Fleet, board: str, version: str) -> list[Json]:
    return [row for row in running.answers(board) if row.get("version") == version]


def test_each_engine_serves_what_was_made_for_it_and_answers_as_the_source(
    line: Fleet,
    live: Path,
    workshop: Any,  # noqa: F811
) -> None:
    source = workshop.folder / "digits.tflite"
    spec = {
        "source": {"uri": line.push(source), "format": "tflite"},
        "input": {"preprocess": {"channels": 1, "scale": SCALE}},
        "output": {"labels": list("0123456789"), "postprocess": {"kind": "classification"}},
        "evaluation": {"uri": line.push(workshop.folder / "evaluation.npz"), "metric": "accuracy"},
    }
    line.create("models", "Model", "digits", spec)
    steps = [{"setWeight": 50}]
    rollout = {"modelRef": {"name": "digits"}, "selector": {"matchLabels": {"site": "line-e"}}, "probationSeconds": 3}
    line.create("modelrollouts", "ModelRollout", "digits", rollout | {"strategy": {"canary": {"steps": steps}}})
    line.wait("digits-v1", lambda: line.status("modelrollouts", "digits").get("phase") == "Healthy", 180)

    expected = source_answers(source, live)
    made = {c["deviceClass"]: c["variant"] for c in line.status("modelversions", "digits-v1")["classes"]}
    for board, device_class in BOARDS.items():
        assert made[device_class]["runtime"] == ENGINES[board]
        line.wait("its answers", lambda board=board: len(answers_of(line, board, "digits-v1")) > LIVE + 1)
        for row in answers_of(line, board, "digits-v1"):
            wanted = expected[Path(row["input"]).stem]
            assert row["label"] == str(wanted.argmax())
            np.testing.assert_allclose(row["output"], wanted, atol=1e-4)
        engines = {e["name"]: e for e in line.status("devices", board)["engines"]}
        assert [a["name"].lower()[:3] for a in engines[ENGINES[board]]["accelerators"]] == ["cpu"]
    assert [f["name"] for f in made["generic-x86-openvino"]["files"]] == ["model.xml", "model.bin"]


def test_a_version_that_answers_a_bright_image_with_nan_is_taken_back_on_both(
    line: Fleet,
    tmp_path: Path,
    workshop: Any,  # noqa: F811
) -> None:
    with np.load(workshop.folder / "training.npz") as data:
        guarded.write(tmp_path / "guarded.tflite", data["x"] * np.float32(SCALE), data["y"])
    line.change("models", "digits", {"source": {"uri": line.push(tmp_path / "guarded.tflite"), "format": "tflite"}})
    line.wait("digits-v2", lambda: line.status("models", "digits")["latestVersion"]["name"] == "digits-v2")
    line.wait("it to be taken back", lambda: line.status("modelrollouts", "digits").get("phase") == "Degraded", 180)
    ready = {c["deviceClass"]: c["state"] for c in line.status("modelversions", "digits-v2")["classes"]}
    assert ready == dict.fromkeys(BOARDS.values(), "Ready"), "nothing before the rollout shows it"
    classes = {c["deviceClass"]: c for c in line.status("modelrollouts", "digits")["classes"]}
    for board, device_class in BOARDS.items():
        line.wait(
            "the version before",
            lambda board=board: (
                (line.slot(board).get("currentVersion"), line.slot(board).get("phase")) == ("digits-v1", "Updated")
            ),
        )
        assert "BadOutput" in json.dumps(classes[device_class]), classes[device_class]
        numbers = [row["seq"] for row in line.answers(board)]
        assert numbers == list(range(len(numbers))), "no input is lost"
        assert not [row for row in line.answers(board) if "error" in row]
        assert answers_of(line, board, "digits-v2"), "it did serve"
        bright = [row for row in line.answers(board) if Path(row["input"]).stem == BRIGHT]
        assert {row["version"] for row in bright} == {"digits-v1"}, "what it can't answer, the one before it does"
