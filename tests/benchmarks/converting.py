"""What a set of variants costs: against a TFLiteConverter run for each, and when it was asked for before.

Ours includes what a script doesn't do: containment, the source's own answers, running each variant on the evaluation
samples and comparing. Both sides run in warm processes; what importing TensorFlow costs is shown apart, and counted once
on each side in a figure of its own.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.cli.demo.digits import SCALE, DataSets, write_data_sets
from litefleet_controller.convert.interface import ConversionRequest, ParityLimits, RecipeName
from litefleet_controller.convert.local import LocalConverter
from litefleet_protocol.tensors import Preprocess
from tests.figures import Figure, Run

_RECIPES: tuple[RecipeName, ...] = ("float32", "float16", "dynamic-int8", "int8")
_CALIBRATED = 100
_IMAGES = 32
"""Of MobileNetV2, for calibration and for evaluation."""
_EVERYTHING_PASSES = ParityLimits(min_agreement=0.0, max_accuracy_drop=1.0)


@dataclass(frozen=True)
class Source:
    """A model with its data sets, all as files."""

    name: str
    model: Path
    evaluation: Path
    calibration: Path
    preprocess: Preprocess
    is_built_in: bool = False
    """There is no file yet: the other side, which has TensorFlow loaded, makes it before it begins."""


def converting(run: Run) -> Sequence[Figure]:
    """Wall seconds. A sample leaves out MobileNetV2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up, *sources = _sources(folder, run)
        figures = []
        for source in sources:
            theirs = _theirs(source, warm_up, folder)
            ours_s, again_s = asyncio.run(_ours(source, warm_up, folder))
            figures += _figures(source, theirs, ours_s, again_s)
        return figures


def _figures(source: Source, theirs: dict[str, float], ours_s: float, again_s: float) -> Sequence[Figure]:
    import_s = theirs.pop("import")
    theirs_s = sum(theirs.values())
    sides = {"ours s": ours_s, "four runs s": theirs_s, "import s": import_s} | {f"{k} s": v for k, v in theirs.items()}
    evaluated = len(np.load(source.evaluation)["x"])
    note = f"wall time; ours includes the proof on {evaluated} samples; TensorFlow imported before on both sides"
    ratio = (ours_s + import_s) / (theirs_s + import_s)
    return [
        Figure(f"convert-four-{source.name}", ours_s / theirs_s, "of four runs", 0.25, "<=", sides, note=note),
        Figure(f"convert-four-{source.name}-and-import", ratio, "of four runs", 0.25, "<=", sides, note=_ONCE),
        Figure(
            f"convert-again-{source.name}",
            again_s / theirs_s,
            "of four runs",
            0.001,
            "<=",
            {"ours s": again_s, "four runs s": theirs_s},
        ),
    ]


_ONCE = "the import of TensorFlow counted once on each side"


def _sources(folder: Path, run: Run) -> list[Source]:
    """First the one that warms up."""
    data = write_data_sets(folder / "data")
    _train(folder, data, 1 if run.sample else 6)
    calibration = folder / "calibration.npz"
    np.savez(calibration, x=np.load(data.calibration)["x"][:_CALIBRATED])
    scaled = Preprocess(channels=1, scale=SCALE)
    digits = [
        Source(name, folder / f"{name}.keras", data.evaluation, calibration, scaled) for name in ("warm-up", "digits")
    ]
    if run.sample:
        return digits
    rng = np.random.default_rng(run.seed)
    images = folder / "images.npz"
    x = rng.integers(0, 256, (_IMAGES, 224, 224, 3), dtype=np.uint8)
    np.savez(images, x=x, y=np.zeros(_IMAGES, np.int64))
    scaled = Preprocess(channels=3, scale=SCALE)
    return [*digits, Source("mobilenet-v2", folder / "mobilenet.keras", images, images, scaled, is_built_in=True)]


def _train(folder: Path, data: DataSets, epochs: int) -> None:
    jobs = [
        {
            "name": name,
            "data": str(data.training),
            "out": str(folder / f"{name}.keras"),
            "epochs": count,
            "seed": seed,
            "scale": SCALE,
        }
        for name, count, seed in (("warm-up", 1, 2), ("digits", epochs, 1))
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "litefleet_controller.convert.training", "--jobs", str(folder / "jobs.json")]
    subprocess.run(command, check=True, capture_output=True)


def _theirs(source: Source, warm_up: Source, folder: Path) -> dict[str, float]:
    out = folder / "theirs.json"
    job = {
        "model": str(source.model),
        "make": source.is_built_in,
        "calibration": str(source.calibration),
        "scale": source.preprocess.scale,
        "warm_up": str(warm_up.model),
        "warm_up_calibration": str(warm_up.calibration),
        "warm_up_scale": warm_up.preprocess.scale,
        "folder": str(folder),
        "out": str(out),
    }
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tests.benchmarks.tflite_converter", str(folder / "job.json")]
    subprocess.run(command, check=True, capture_output=True)
    taken: dict[str, float] = json.loads(out.read_text())
    return taken


async def _ours(source: Source, warm_up: Source, folder: Path) -> tuple[float, float]:
    """Seconds for four classes with a recipe each, asked for at once; and for the same again."""
    blobs = DirectoryBlobs(folder / "blobs")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        converter = LocalConverter(blobs, Path(work))
        try:
            await _seconds(converter, await _requests(blobs, warm_up))
            requests = await _requests(blobs, source)
            return await _seconds(converter, requests), await _seconds(converter, requests)
        finally:
            await converter.close()


async def _requests(blobs: DirectoryBlobs, source: Source) -> list[ConversionRequest]:
    model, evaluation, calibration = [
        await blobs.put(path.read_bytes()) for path in (source.model, source.evaluation, source.calibration)
    ]
    return [
        ConversionRequest(
            device_class=recipe,
            source=model,
            source_format="keras",
            ladder=(recipe,),
            limits=_EVERYTHING_PASSES,
            evaluation=evaluation,
            calibration=calibration,
            calibration_samples=_CALIBRATED,
            preprocess=source.preprocess,
        )
        for recipe in _RECIPES
    ]


async def _seconds(converter: LocalConverter, requests: Sequence[ConversionRequest]) -> float:
    began = time.perf_counter()
    outcomes = await asyncio.gather(*(converter.convert(request, lambda _: None) for request in requests))
    assert all(o.made is not None for o in outcomes), [o.refused for o in outcomes]
    return time.perf_counter() - began
