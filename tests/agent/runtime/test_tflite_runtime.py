"""A board that has the interpreter of 2023, as 32-bit ARM boards do: the real one, and numpy 1, under the whole agent."""

import os
import sys
from pathlib import Path

import pytest

from tests.agent.artifacts import DATA, golden_for, make, make_from
from tests.agent.broker import until
from tests.agent.world import World
from tests.old_python import old_python

SHARED = ("litefleet_agent", "litefleet_protocol", "msgspec", "paho", "cryptography", "cffi", "PIL")
"""Packages that are the same for both interpreters."""


@pytest.fixture(scope="module")
def python() -> str:
    return old_python()


@pytest.fixture
def world(tmp_path, python):
    made = World(tmp_path)
    overlay = tmp_path / "packages"
    overlay.mkdir()
    for name in SHARED:
        (overlay / name).symlink_to(__import__(name).__path__[0])
    for path in Path(__import__("cffi").__path__[0]).parent.glob("_cffi_backend*.so"):
        (overlay / path.name).symlink_to(path)
    for path in Path(__import__("PIL").__path__[0]).parent.glob("*.libs"):
        (overlay / path.name).symlink_to(path)
    made.python = python
    made.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(overlay), "PYTHONUTF8": "1"}
    yield made
    made.close()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="shares compiled packages with a Python 3.11")
def test_a_board_with_tflite_runtime_swaps_refuses_and_says_what_it_has(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    v2 = make_from(world.key, "b.tflite", version="digits-v2")
    wide = (DATA / "wide-5-classes.tflite").read_bytes()
    broken = make(world.key, wide, golden_for(DATA / "a.tflite"), version="digits-v3")
    openvino = make(
        world.key, {"model.xml": b"<net/>", "model.bin": b"0"}, None, version="digits-v4", runtime="openvino"
    )
    for made in (v1, v2, broken, openvino):
        controller.publish(made)
    for made in (v1, v2):
        controller.assign(made)
        world.process or world.start()
        controller.wait_for("Updated", made.manifest.version)
    until(lambda: world.answers() and world.answers()[-1]["version"] == "digits-v2", "answers of v2")
    found = until(lambda: controller.reports()[-1].capabilities.engines, "its engines are probed")
    assert controller.reports()[-1].capabilities.runtimes == {"litert": "tflite-runtime 2.14.0"}
    assert [(e.name, e.version, e.code) for e in found] == [("litert", "tflite-runtime 2.14.0", "")]
    assert [a.description for a in found[0].accelerators] == ["this board's processor, with XNNPACK"]

    controller.assign(broken)
    assert controller.wait_for("Failed").slots["digits"].code == "BadShape"
    controller.assign(openvino)
    slot = controller.wait_for("Failed").slots["digits"]
    assert slot.code == "RuntimeMissing"
    assert "pip install 'litefleet-agent[openvino]'" in slot.message
    assert slot.current_version == "digits-v2"
    assert {row["label"] for row in world.answers() if row["version"] == "digits-v2"} == {"zero", "one", "two"}
    said = world.run("doctor").stdout
    assert "LiteRT tflite-runtime 2.14.0: cpu (this board's processor, with XNNPACK)" in said
    assert "OpenVINO is not installed, and the board needs it" in said
