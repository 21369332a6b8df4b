"""A file that was compiled for the Edge TPU elsewhere: declared, checked, published, and refused by a board without one.

No machine of this project has an Edge TPU, and the file is the stand-in's (fake_compiler.py). What is real is all else:
the controller, its converter, the broker, and the agent that finds no libedgetpu.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.controller.convert.conftest import workshop  # noqa: F401 - a fixture: the trained network, and its data
from tests.controller.convert.targets.fake_compiler import compiled
from tests.flow.fleet import Fleet, fleet

pytestmark = [pytest.mark.timeout(300)]

MANIFESTS = Path(__file__).parents[2] / "manifests"
CORAL, PLAIN = "coral-usb-accelerator", "generic-x86-gateway"
BOARDS = {"t-coral-1": CORAL, "t-plain-1": PLAIN}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Iterator[Fleet]:  # noqa: F811
    live = tmp_path_factory.mktemp("live")
    with np.load(workshop.folder / "evaluation.npz") as data:
        for n in range(20):
            np.save(live / f"{n:03d}.npy", data["x"][n])
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        for name, device_class in BOARDS.items():
            running.cli("apply", "-f", str(MANIFESTS / "classes" / f"{device_class}.yaml"))
            running.enroll(name, device_class, "line-t")
            running.run_board(name, live, slot="meter")
        yield running


def example(running: Fleet, folder: Path, prebuilt: str | None) -> Path:
    """Example 10 as it ships, but with real files, whose pixels go to 16, and no time to lose."""
    model, rollout = yaml.safe_load_all((MANIFESTS / "examples" / "10-compiled-elsewhere.yaml").read_text())
    spec = model["spec"]
    spec["source"] = {"uri": running.push(folder / "digits.tflite"), "format": "tflite"}
    spec["input"] = {"preprocess": {"channels": 1, "scale": 1 / 16}}
    for part in ("calibration", "evaluation"):
        spec[part]["uri"] = running.push(folder / f"{part}.npz")
    if prebuilt is None:
        del spec["prebuilt"]
    else:
        spec["prebuilt"]["edgetpu"]["uri"] = prebuilt
    rollout["spec"]["strategy"]["canary"]["steps"] = [{"setWeight": 100}]
    rollout["spec"]["probationSeconds"] = 2
    path = running.directory / "10.yaml"
    path.write_text(yaml.safe_dump_all([model, rollout]))
    return path


def test_example_10_a_compiled_file_is_published_and_a_board_without_an_edge_tpu_keeps_what_it_has(
    line: Fleet,
    workshop: Any,  # noqa: F811
) -> None:
    line.cli("apply", "-f", str(example(line, workshop.folder, None)))
    line.wait("meter-v1", lambda: line.status("modelrollouts", "meter").get("phase") == "Healthy")
    made = {c["deviceClass"]: c["variant"] for c in line.status("modelversions", "meter-v1")["classes"]}
    int8 = line.request(lambda c: c.download(f"/fleet/v1/blobs/{made[CORAL]['digest']}"))  # type: ignore[arg-type, return-value]
    file = line.directory / "meter_edgetpu.tflite"
    file.write_bytes(compiled(bytes(int8), compiler="16.0.384591198"))

    uri = line.push(file)
    line.cli("apply", "-f", str(example(line, workshop.folder, uri)))
    line.wait("a decision", lambda: line.status("modelversions", "meter-v2").get("phase") == "Ready")
    found = {c["deviceClass"]: c["variant"] for c in line.status("modelversions", "meter-v2")["classes"]}
    assert (found[CORAL]["recipe"], f"blob://{found[CORAL]['digest']}") == ("prebuilt", uri)
    assert "agreement" not in found[CORAL]
    assert found[PLAIN]["digest"] == made[PLAIN]["digest"], "all others are made of the source"
    manifest = json.loads(line.request(lambda c: c.download(f"/fleet/v1/blobs/{found[CORAL]['artifact']}")))  # type: ignore[arg-type, return-value]
    assert (manifest["variant"], manifest["files"][0]["digest"]) == ("prebuilt", found[CORAL]["digest"])

    def said() -> str:
        return str(line.status("modelrollouts", "meter").get("message"))

    # What the board says of the refused file is over once it is told to go back; what the rollout says of it stays.
    line.wait("the board's word", lambda: "AcceleratorMissing on t-coral-1" in said())
    assert "no libedgetpu.so.1 on this board" in said()
    line.wait("the way back", lambda: line.slot("t-coral-1", "meter").get("desiredVersion") == "meter-v1")
    assert line.slot("t-coral-1", "meter")["currentVersion"] == "meter-v1"
    line.wait("the other class", lambda: line.slot("t-plain-1", "meter").get("currentVersion") == "meter-v2")
    told = line.cli("describe", "modelversion", "meter-v2")
    assert "compiled by compiler 16.0.384591198: 1 operators for the accelerator" in told
    assert "read here, and not run here" in told
    assert "Recipe:      none: compiled elsewhere" in line.cli("explain", "variant", f"meter-v2/{CORAL}")


def test_the_compiled_file_as_the_only_source_is_refused_with_the_way_in(line: Fleet) -> None:
    uri = line.push(line.directory / "meter_edgetpu.tflite")
    line.change("models", "meter", {"source": {"uri": uri}, "prebuilt": None})
    line.wait("a decision", lambda: line.status("modelversions", "meter-v3").get("phase") == "Refused")
    for entry in line.status("modelversions", "meter-v3")["classes"]:
        assert (entry["code"], "spec.prebuilt.edgetpu" in entry["message"]) == ("CompiledAlready", True)
