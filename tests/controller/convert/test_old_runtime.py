"""What runtimes.yaml says of interpreters, asked of the interpreters: the one of 2023 that old boards have, and ours.

The old one lives in an environment of its own, which scripts/get-tflite-2.14 makes once.
"""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import ModelFile, RefusedRung
from litefleet_controller.convert.judging.admission import Board, admit
from litefleet_controller.convert.judging.runtimes import litert
from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.tflite.opversions import needed_versions, traits, with_needed_versions
from litefleet_controller.resources.recipe import recipes
from litefleet_controller.resources.release import Release, parse_release
from litefleet_protocol.tensors import Signature
from tests.controller.convert.conftest import Workshop
from tests.controller.convert.figures import HINT
from tests.controller.convert.frozen import frozen, images, ranges
from tests.controller.convert.probes import NAMES, write_probes
from tests.custom_operators import model_of
from tests.old_python import old_python

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*experimental_preserve_all_tensors"
)  # the quantizer's way to calibrate

PROGRAM = Path(__file__).with_name("old_runtime.py")
OLD = "tflite-runtime 2.14.0"
IMAGES = 300


@pytest.fixture(scope="module")
def old() -> str:
    return old_python()


def ask(python: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=False, env={"PYTHONUTF8": "1"}
    )


def known_versions(release: Release) -> dict[str, int]:
    built_in = litert().operators.keys() - litert().custom
    return {name: n for name in built_in if (n := litert().highest(name, release))}


def asked_versions(python: str, folder: Path) -> dict[str, int]:
    """One version above what is known of the newest release is asked for, so that a gap shows, too."""
    newest = known_versions(litert().releases[-1])
    write_probes(folder, {name: newest.get(name, 0) for name in NAMES})
    answered = ask(python, "versions", folder)
    assert answered.returncode == 0, answered.stderr[-500:]
    found: dict[str, int] = json.loads(answered.stdout)
    return found


def test_tflite_runtime_2_14_has_the_operators_that_are_written_of_it(old: str, tmp_path: Path) -> None:
    assert asked_versions(old, tmp_path) == known_versions(litert().oldest)


def test_the_interpreter_here_has_the_operators_that_are_written_of_it(tmp_path: Path) -> None:
    from ai_edge_litert import __version__ as version

    release = parse_release("litert", f"ai-edge-litert {version}")
    assert release is not None
    assert asked_versions(sys.executable, tmp_path) == known_versions(release)


@pytest.mark.parametrize("which", ["the oldest", "the one here"])
def test_custom_operators_run_in_version_1_and_no_other(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    names = sorted(litert().custom)
    assert names == ["AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"]
    for name in names:
        for version in (1, 2):
            (tmp_path / f"{name}-{version}.tflite").write_bytes(model_of(name, version))
    answered = ask(sys.executable if which == "the one here" else request.getfixturevalue("old"), "runs", tmp_path)
    assert answered.returncode == 0, answered.stderr[-500:]
    assert json.loads(answered.stdout) == {f"{name}-{v}": v == 1 for name in names for v in (1, 2)}
    assert {litert().highest(name, release) for name in names for release in litert().releases} == {1}


@pytest.fixture(scope="module", params=[name for name, how in recipes().items() if how.engine == "litert"])
def variant(workshop: Workshop, request: pytest.FixtureRequest) -> tuple[str, bytes]:
    """A recipe, and what the quantizer alone makes of it."""
    how = recipes()[request.param]
    return request.param, quantize(frozen(workshop), request.param, how, ranges(workshop, how))


def admitted(recipe: str, model: bytes) -> RefusedRung | None:
    parsed = parse(model)
    entry = VariantEntry(
        files=(ModelFile("model.tflite", "", len(model)),), golden="", golden_size=0, golden_samples=0, examination="", golden_tolerance=0,
        signature=Signature(inputs=(), outputs=()), operators={}, operator_versions=needed_versions(parsed),
        traits=traits(parsed), arena_bytes=0, agreement=1, accuracy=1, source_accuracy=1, evaluated=1, classes=10, toolchain={}, hint=HINT,
    )  # fmt: skip
    return admit(recipe, entry, Board("armv7", runtime_version=OLD))


def answers(python: str, folder: Path, model: bytes, x: NDArray[Any]) -> NDArray[Any] | str:
    """(N, 10) float32, or why the interpreter doesn't run it."""
    (folder / "model.tflite").write_bytes(model)
    np.savez(folder / "x.npz", x=x)
    ran = ask(python, "run", folder / "model.tflite", folder / "x.npz", folder / "y.npz")
    if ran.returncode != 0:
        return ran.stderr
    with np.load(folder / "y.npz") as data:
        found: NDArray[Any] = data["y"]
        return found


@pytest.mark.tensorflow
def test_what_is_admitted_answers_there_as_here_and_what_is_refused_is_wrong_there(
    old: str, workshop: Workshop, variant: tuple[str, bytes], tmp_path: Path
) -> None:
    recipe, model = variant
    x = images(workshop, "evaluation.npz")[:IMAGES]
    with np.load(io.BytesIO(workshop.read("evaluation.npz"))) as data:
        labels = data["y"][:IMAGES]
    here, there = answers(sys.executable, tmp_path, model, x), answers(old, tmp_path, model, x)
    assert isinstance(here, np.ndarray), here
    assert (here.argmax(axis=1) == labels).mean() > 0.95
    is_right = isinstance(there, np.ndarray) and (here.argmax(axis=1) == there.argmax(axis=1)).mean() > 0.98
    refused = admitted(recipe, model)
    assert (refused is None) == is_right, refused or there


@pytest.mark.tensorflow
def test_the_trap_is_real_and_a_file_that_says_its_versions_does_not_fall_into_it(
    old: str, workshop: Workshop, tmp_path: Path
) -> None:
    """If this fails because `silent` is right, the rule in opversions.py has lost its reason."""
    raw = quantize(frozen(workshop), "dynamic-int8", recipes()["dynamic-int8"], None)
    x = images(workshop, "evaluation.npz")[:IMAGES]
    silent, honest = answers(old, tmp_path, raw, x), answers(old, tmp_path, with_needed_versions(raw), x)
    here = answers(sys.executable, tmp_path, with_needed_versions(raw), x)
    assert isinstance(silent, np.ndarray)
    assert isinstance(here, np.ndarray)
    assert (silent.argmax(axis=1) == here.argmax(axis=1)).mean() < 0.5
    assert isinstance(honest, str)
    assert "FULLY_CONNECTED' version '12'" in honest
    refused = admitted("dynamic-int8", raw)
    assert refused is not None
    assert "FULLY_CONNECTED version 12" in refused.message
