"""Each architecture is built and trained by `litefleet model new` and `train`, converted by a running controller for each
class of `manifests/classes/`, and set beside TFLiteConverter's files of the same model: sizes, and top-1 agreement with
the source over all of MNIST's test images, paired. The cells are on [the catalog's page](catalog.md).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from litefleet_controller.cli.demo.processes import controller_command
from litefleet_controller.convert.zoo.every import ARCHITECTURES
from tests.benchmarks.catalog.digits import Digits, mnist, small_digits
from tests.benchmarks.catalog.page import Entry, draw
from tests.figures import Figure, Run
from tests.flow.fleet import Fleet, fleet

_REPOSITORY = Path(__file__).parents[3]
PAGE = _REPOSITORY / "docs" / "catalog.md"
_CLASSES = _REPOSITORY / "manifests" / "classes"
_PAIRED = ("float32", "float16", "dynamic-int8", "int8")
"""What TFLiteConverter makes, too."""
_OBJECTIVES = ("latency", "size", "accuracy")
_CALIBRATED = 100
_SIDES = {"ours": "ours", "theirs": "agreement", "only ours": "only_ours", "only theirs": "only_theirs"}
_PATIENCE_S = 3600.0

Json = dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    architectures: Sequence[str]
    trained: int
    """Images that each sees an epoch."""
    epochs: int
    pairs: Sequence[str]


_WHOLE = _Plan([a.name for a in ARCHITECTURES], 6_000, 3, _PAIRED)
_SAMPLE = _Plan(["squeezenet"], 300, 1, ["float32"])


def catalog(run: Run) -> Sequence[Figure]:
    """A sample does one architecture on small images, and asks nothing of TFLiteConverter but one file."""
    plan = _SAMPLE if run.sample else _WHOLE
    with tempfile.TemporaryDirectory(prefix="litefleet-catalog-") as name:
        folder = Path(name)
        digits = (
            small_digits(folder, plan.trained, _CALIBRATED)
            if run.sample
            else mnist(folder, plan.trained, _CALIBRATED, run.seed)
        )
        with fleet(folder) as running:
            _declare_classes(running, plan)
            entries = [_entry(running, name, digits, plan, run.seed) for name in plan.architectures]
    if not run.sample:
        PAGE.write_text(draw(entries, digits.evaluated, run.seed), "utf-8")
    return [figure for entry in entries for figure in _figures(entry, digits, run)]


def _declare_classes(running: Fleet, plan: _Plan) -> None:
    """The catalog's classes, one a recipe that is compared, and one an objective; each with a board, to be in use."""
    for path in sorted(_CLASSES.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text("utf-8")):
            _declare_class(running, manifest["metadata"]["name"], manifest["spec"])
    anything = {"maxAccuracyDrop": 1.0, "minAgreement": 0.0}
    for recipe in plan.pairs:
        _declare_class(running, f"paired-{recipe}", {"variants": [recipe], "limits": anything})
    if plan is _WHOLE:
        for objective in _OBJECTIVES:
            _declare_class(running, f"auto-{objective}", {"variants": ["auto"], "objective": objective})


def _declare_class(running: Fleet, name: str, spec: Json) -> None:
    running.create("deviceclasses", "DeviceClass", name, spec)
    running.create("devices", "Device", f"a-{name}"[:63], {"class": name})


def _entry(running: Fleet, name: str, digits: Digits, plan: _Plan, seed: int) -> Entry:
    began = time.monotonic()
    folder = running.directory
    built, trained = folder / f"{name}.keras", folder / f"{name}-trained.keras"
    _litefleet("model", "new", name, "--classes", "10", "--input", "28x28x1", "--out", str(built), "--seed", str(seed))
    _say(name, "built", began)
    training = time.monotonic()
    _litefleet(
        "model", "train", str(built), "--data", str(digits.training), "--out", str(trained),
        "--epochs", str(plan.epochs), "--seed", str(seed),
    )  # fmt: skip
    training = time.monotonic() - training
    _say(name, f"trained in {training:.0f} s", began)
    status = _converted(running, name, trained, digits)
    _say(name, f"converted: {status['phase']}", began)
    classes = {c["deviceClass"]: c for c in status["classes"]}
    ours = {recipe: _file(running, classes[f"paired-{recipe}"]) for recipe in plan.pairs}
    theirs = _theirs(trained, digits, folder / f"{name}-theirs", ours)
    _say(name, "compared with TFLiteConverter", began)
    return Entry(name, training, _megabytes(trained), classes, theirs, plan.pairs)


def _file(running: Fleet, decided: Json) -> Path:
    """A variant's `.tflite` file, where the controller keeps it."""
    (file,) = decided["variant"]["files"]
    name = file["digest"].removeprefix("sha256:")
    return running.data / "blobs" / name[:2] / name


def _converted(running: Fleet, name: str, model: Path, digits: Digits) -> Json:
    """The version's status, once every class is decided."""
    evaluation, calibration = running.push(digits.evaluation), running.push(digits.calibration)
    spec = {
        "source": {"uri": running.push(model)},
        "output": {"labels": list("0123456789")},
        "calibration": {"uri": calibration, "samples": _CALIBRATED},
        "evaluation": {"uri": evaluation},
    }
    running.create("models", "Model", name, spec)
    version = f"{name}-v1"

    def decided() -> bool:
        return running.status("modelversions", version).get("phase") not in (None, "Pending", "Converting")

    running.wait(f"{version} to be converted", decided, _PATIENCE_S)
    return running.status("modelversions", version)


def _theirs(model: Path, digits: Digits, into: Path, ours: Mapping[str, Path]) -> dict[str, Json]:
    command = [sys.executable, "-m", "tests.benchmarks.catalog.tflite_side"]
    out = into.with_suffix(".json")
    files = (model, digits.calibration, digits.evaluation, into, out)
    done = subprocess.run(
        [*command, *map(str, files), *(f"{recipe}={path}" for recipe, path in ours.items())],
        capture_output=True,
        text=True,
        check=False,
        cwd=_REPOSITORY,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(out.read_text()))


def _figures(entry: Entry, digits: Digits, run: Run) -> list[Figure]:
    figures = []
    for recipe in entry.pairs:
        ours, theirs = entry.classes[f"paired-{recipe}"]["variant"], entry.theirs[recipe]
        note = f"{digits.evaluated} images that training didn't see, 28x28, width 1"
        behind = (theirs["agreement"] - theirs["ours"]) * 100
        figures += [
            Figure(
                f"{entry.name}-{recipe}-size", ours["sizeBytes"] / theirs["size"], "of TFLiteConverter's", 1.02, "<=",
                {"ours bytes": ours["sizeBytes"], "theirs bytes": theirs["size"]}, run.seed, note,
            ),
            Figure(
                f"{entry.name}-{recipe}-agreement", behind, "points behind TFLiteConverter's", 0.2, "<=",
                {k: theirs[v] for k, v in _SIDES.items()}, run.seed, note,
            ),
        ]  # fmt: skip
    return figures


def _litefleet(*arguments: str) -> None:
    done = subprocess.run(controller_command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"litefleet {' '.join(arguments)}: {done.stderr[-2000:]}"


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


def _say(name: str, what: str, began: float) -> None:
    sys.stderr.write(f"catalog: {name} {what} ({time.monotonic() - began:.0f} s)\n")
