"""What each target says of a machine: Available, Missing or DeviceSide, and never more than is there."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest

from litefleet_controller.convert.targets.edgetpu import compiled
from litefleet_controller.convert.targets.every import TARGETS, standings
from litefleet_controller.convert.targets.interface import Standing, State, TargetName
from litefleet_controller.convert.targets.jetson import AGENT_PYTHON
from litefleet_controller.convert.targets.tools import InstalledTools
from litefleet_controller.resources.device import Accelerator
from litefleet_controller.resources.manifest import parse_documents
from litefleet_controller.resources.recipe import recipes

ROOT = Path(__file__).parents[4]
EVERYTHING = ("litert-quantizer", "ai-edge-litert", "openvino", "tf2onnx", "onnxruntime")


@dataclass
class Machine:
    """A machine that has what it is told to have; implements `Tools`."""

    machine: str = "linux x86_64"
    programs: Mapping[str, Path] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def program(self, setting: str, *names: str) -> Path | None:
        return next((self.programs[n] for n in (setting, *names) if n in self.programs), None)

    def version(self, distribution: str) -> str | None:
        return "1.2.3" if distribution in self.packages else None


def of(machine: Machine, target: str, word: str) -> Standing:
    (found,) = [s for s in standings(machine) if s.target == target and word in s.makes]
    return found


def test_a_bare_machine_has_nothing_and_says_how_to_get_it() -> None:
    for standing in standings(Machine()):
        assert standing.state == ("DeviceSide" if "TensorRT" in standing.makes else "Missing")
        assert standing.tool
        assert standing.how


def test_a_full_machine_makes_what_its_packages_and_programs_make() -> None:
    machine = Machine(programs={"edgetpu_compiler": Path("/opt/edgetpu_compiler")}, packages=EVERYTHING)
    assert of(machine, "cpu", "tflite").state == "Available"
    assert of(machine, "cpu", "tflite").tool == "litert-quantizer 1.2.3, ai-edge-litert 1.2.3"
    assert of(machine, "edgetpu", "compiled") == Standing(
        "edgetpu", "_edgetpu.tflite, compiled for the TPU", "Available", "/opt/edgetpu_compiler"
    )
    assert of(machine, "myriad", "IR").state == ("Available" if "openvino-float16" in recipes() else "Missing")
    assert of(machine, "gpu", "ONNX").state == ("Available" if "onnx-float32" in recipes() else "Missing")


def test_a_tensorrt_engine_is_the_boards_own_whatever_is_installed() -> None:
    machine = Machine(programs={"trtexec": Path("/usr/bin/trtexec")}, packages=EVERYTHING)
    engine = of(machine, "gpu", "TensorRT")
    assert engine.state == "DeviceSide"
    assert "trtexec --onnx=model.onnx --fp16" in engine.how
    assert "3.6" in engine.how


def test_a_blob_is_never_claimed_even_where_its_compiler_is() -> None:
    there = of(Machine(programs={"compile_tool": Path("/opt/compile_tool")}), "myriad", "blob")
    assert (there.state, there.tool) == ("Missing", "/opt/compile_tool")
    assert "doesn't run it" in there.how
    assert "2022.3.1" in of(Machine(), "myriad", "blob").how


@pytest.mark.parametrize("machine", ["linux aarch64", "darwin arm64"])
def test_where_google_has_no_compiler_the_way_is_another_machine(machine: str) -> None:
    assert re.search(rf"not for {machine}.*such a machine", compiled(Machine(machine)).how)
    assert "apt-get install edgetpu-compiler" in compiled(Machine()).how


def test_programs_are_found_on_the_path_or_where_a_setting_says(tmp_path: Path) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_text("#!/bin/sh\n")
    on_path = {"PATH": str(tmp_path)}
    assert InstalledTools(on_path).program("SETTING", "edgetpu_compiler") is None
    program.chmod(0o755)
    assert InstalledTools(on_path).program("SETTING", "edgetpu_compiler") == program
    assert InstalledTools({"SETTING": str(program)}).program("SETTING", "other") == program
    # A setting that is wrong isn't made up for by what is on the path.
    assert InstalledTools({**on_path, "SETTING": str(tmp_path)}).program("SETTING", "edgetpu_compiler") is None
    assert InstalledTools({}).program("SETTING", "edgetpu_compiler") is None


def test_targets_and_accelerators_have_the_same_names() -> None:
    kinds = get_args(Accelerator.model_fields["kind"].annotation)
    assert tuple(t.name for t in TARGETS) == get_args(TargetName) == kinds
    assert get_args(State) == ("Available", "Missing", "DeviceSide")


def test_the_agents_python_is_the_one_that_its_package_asks_for() -> None:
    assert f'requires-python = ">={AGENT_PYTHON},' in (ROOT / "agent" / "pyproject.toml").read_text()


def test_every_accelerator_has_a_class_in_the_catalog_and_old_engines_have_no_dynamic_recipe() -> None:
    specs = [
        parse_documents(p.read_bytes(), source_name=p.name)[0]["spec"]
        for p in sorted((ROOT / "manifests" / "classes").glob("*.yaml"))
    ]
    assert {s["accelerator"]["kind"] for s in specs} == {t.name for t in TARGETS}
    for spec in specs:
        if "tflite-runtime" in spec.get("runtimeVersion", ""):
            assert not [name for name in spec["variants"] if recipes()[name].activations == "dynamic"]
        if spec["accelerator"]["kind"] == "edgetpu":
            assert {recipes()[name].activations for name in spec["variants"]} == {"int8"}


def test_the_page_of_targets_says_what_the_code_says() -> None:
    page = (ROOT / "docs" / "targets.md").read_text()
    for standing in standings(Machine()):
        assert f"| {standing.target} | {standing.makes} |" in page, standing
    for target in TARGETS:
        assert target.boards in page
    for path in (ROOT / "manifests" / "classes").glob("*.yaml"):
        assert f"`{path.stem}`" in page


def litefleet(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "litefleet_controller.cli", *arguments]
    # Without a PATH and a setting, so that this machine's own compilers can't be found.
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": "/nonexistent"})


def test_the_command_shows_each_state_and_how_to_get_what_is_missing() -> None:
    done = litefleet("targets")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TARGET", "MAKES", "STATE", "TOOL"]
    assert any(re.match(r"edgetpu +_edgetpu.tflite.* Missing +edgetpu_compiler", line) for line in lines)
    assert any("apt-get install edgetpu-compiler" in line or "x86-64 Debian only" in line for line in lines)
    assert "on this machine" in done.stderr


def test_the_command_gives_json_and_refuses_other_forms() -> None:
    found = json.loads(litefleet("targets", "-o", "json").stdout)
    assert {s["state"] for s in found} >= {"Available", "Missing", "DeviceSide"}
    assert set(found[0]) == {"target", "makes", "state", "tool", "how"}
    wrong = litefleet("targets", "-o", "xml")
    assert (wrong.returncode, wrong.stderr) == (2, "error: -o 'xml': use table, wide or json (Usage)\n")
