"""LiteRT's delegates: real libraries, that compute nothing, behave as those of sticks and drivers do."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from litefleet_agent.probing import probe
from litefleet_agent.runtime.engines import runtime
from litefleet_agent.runtime.interface import ModelError
from tests.agent.artifacts import DATA, make_from
from tests.agent.broker import until
from tests.agent.runtime.kits import WEIGHTS, files, load, softmax
from tests.agent.world import World
from tests.controller.convert.targets.fake_compiler import compiled

SOURCE = Path(__file__).with_name("delegate.c")


@pytest.fixture
def library(tmp_path):
    """Compiles the delegate that behaves as `how` says; its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (scripts/get-cc)")

    def build(how: str) -> str:
        path = tmp_path / f"lib{how.lower()}.so"
        subprocess.run([compiler, "-shared", "-fPIC", f"-D{how}", "-o", path, SOURCE], check=True)
        return str(path)

    return build


def test_one_that_works_is_loaded_and_the_model_answers(tmp_path, library):
    works = library("WORKS")
    assert runtime("litert").try_accelerator(works) == works
    model = load("litert", files("litert", "a"), tmp_path, accelerator=works)
    x = np.array([[1, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(model.infer([x])[0], softmax(x @ WEIGHTS["a"].T), atol=1e-6)


def test_one_that_finds_no_device_says_so_and_nothing_falls_back_to_the_processor(tmp_path, library):
    with pytest.raises(ModelError, match="no stick is plugged in") as caught:
        load("litert", files("litert", "a"), tmp_path, accelerator=library("NO_DEVICE"))
    assert caught.value.code == "AcceleratorFailed"


def test_a_library_that_is_none_says_so(tmp_path):
    (tmp_path / "libtext.so").write_text("not a library")
    with pytest.raises(ModelError, match="doesn't load") as caught:
        load("litert", files("litert", "a"), tmp_path, accelerator=str(tmp_path / "libtext.so"))
    assert caught.value.code == "AcceleratorFailed"


def test_one_that_kills_its_process_is_found_out_by_the_probe_and_the_rest_is_found_all_the_same(library):
    works, crashes = library("WORKS"), library("CRASHES")
    found = {a.name: a for a in probe("litert", [crashes, works]).accelerators}
    assert (found[crashes].code, found[crashes].message) == (
        "AcceleratorFailed", f"its process was killed by SIGSEGV, trying {crashes}",
    )  # fmt: skip
    assert [found[name].code for name in ("cpu", works)] == ["", ""]


def test_a_file_for_the_edge_tpu_asks_for_its_library_by_name(tmp_path):
    """As no machine of this project has it: where there is one, it is loaded unasked."""
    made = compiled((DATA / "int8.tflite").read_bytes())
    with pytest.raises(ModelError, match=r"no libedgetpu\.so\.1 on this board.*install libedgetpu1-std") as caught:
        load("litert", {"model.tflite": made}, tmp_path)
    assert caught.value.code == "AcceleratorMissing"


@pytest.fixture
def world(tmp_path, library):
    """A board with a stick that one process at a time can open."""
    sticks = tmp_path / "sticks"
    sticks.mkdir()
    Path(library("ONE_PROCESS")).rename(sticks / "libedgetpu.so.1")
    made = World(tmp_path)
    made.environment = {**os.environ, "LD_LIBRARY_PATH": str(sticks), "STICK": str(tmp_path / "stick")}
    yield made
    made.close()


def test_a_stick_that_one_process_can_open_is_swapped_on_inside_the_agent(world):
    controller = world.controller
    v1, v2 = (make_from(world.key, f"{n}.tflite", version=f"digits-{v}") for n, v in (("a", "v1"), ("b", "v2")))
    broken = make_from(world.key, "b.tflite", version="digits-v3", golden_shift=1.0)
    for made in (v1, v2, broken):
        controller.publish(made)
    controller.assign(v1)
    world.start('[runtime]\naccelerator = "edgetpu"\n')
    controller.wait_for("Updated", "digits-v1")
    controller.assign(v2)
    controller.wait_for("Updated", "digits-v2")
    controller.assign(broken)
    slot = controller.wait_for("Failed").slots["digits"]
    assert (slot.code, slot.current_version) == ("GoldenMismatch", "digits-v2")
    with (world.folder / "stick").open("r+") as stick, pytest.raises(BlockingIOError):
        fcntl.flock(stick, fcntl.LOCK_EX | fcntl.LOCK_NB)
    said = world.run("doctor", "--config", str(world.folder / "agent.toml")).stdout
    assert "edgetpu (libedgetpu.so.1 is here; not opened, for this agent may have it open)" in said

    world.process.terminate()
    assert world.process.wait(20) == 0
    before = len(controller.reports())
    world.start()
    found = until(
        lambda: (reports := controller.reports()[before:]) and reports[-1].capabilities.engines,
        "its engines are probed",
    )
    assert [(a.name, a.code) for a in found[0].accelerators] == [("cpu", ""), ("edgetpu", "")]
    assert controller.wait_for("Failed").slots["digits"].current_version == "digits-v2"
