"""What a set of variants costs, and how large they are: against a TFLiteConverter run for each.

Ours includes what a script doesn't do: containment, the source's own answers, running each variant on the evaluation
samples, timing and comparing. Both sides run in warm processes; what importing TensorFlow costs is shown apart, and counted
once on each side in a figure of its own. Classes that come later find the frozen source: `further-recipe` needs a weight-only
variant that nobody asked for before, `further-class` has other limits and the recipe of another one, `again` repeats all four.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.cli.demo.digits import SCALE, DataSets, write_data_sets
from litefleet_controller.convert.interface import ConversionRequest, Made, ParityLimits, Progress, RecipeName
from litefleet_controller.convert.local import LocalConverter
from litefleet_protocol.tensors import Preprocess
from tests.figures import Figure, Run

_RECIPES: tuple[RecipeName, ...] = ("float32", "float16", "dynamic-int8", "int8")
_FURTHER: RecipeName = "weight-only-int8"
_LIKE_FURTHER: RecipeName = "dynamic-int8"
"""What TFLiteConverter makes that is nearest to it."""
_CALIBRATED = 100
_IMAGES = 32
"""Of MobileNetV2, for calibration and for evaluation."""
_VARIANT_PERCENT = 50
"""Evaluating below is the source's own."""
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


@dataclass(frozen=True)
class Theirs:
    """What a script comes to: by variant."""

    import_s: float
    seconds: dict[str, float]
    sizes: dict[str, int]
    """Bytes."""


@dataclass(frozen=True)
class Ours:
    """What this project comes to."""

    four_s: float
    """Four classes with a recipe each, asked for at once."""
    again_s: float
    """The same again."""
    class_s: float
    """A class more, with a recipe that one of the four has."""
    recipe_s: float
    """A class more, with a recipe of its own."""
    proof_s: float
    """How much of that is after the file was made."""
    sizes: dict[str, int]
    """Bytes of the four."""


def converting(run: Run) -> Sequence[Figure]:
    """Wall seconds. A sample leaves out MobileNetV2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up, *sources = _sources(folder, run)
        figures = []
        for source in sources:
            theirs = _theirs(source, warm_up, folder)
            ours = asyncio.run(_ours(source, warm_up, folder))
            figures += [*_times(source, theirs, ours), *_further(source, theirs, ours), *_sizes(source, theirs, ours)]
        return figures


def _times(source: Source, theirs: Theirs, ours: Ours) -> Sequence[Figure]:
    theirs_s = sum(theirs.seconds.values())
    sides = {"ours s": ours.four_s, "four runs s": theirs_s, "import s": theirs.import_s}
    sides |= {f"{k} s": v for k, v in theirs.seconds.items()}
    evaluated = len(np.load(source.evaluation)["x"])
    note = f"wall time; ours includes the proof on {evaluated} samples; TensorFlow imported before on both sides"
    ratio = (ours.four_s + theirs.import_s) / (theirs_s + theirs.import_s)
    again = {"ours s": ours.again_s, "four runs s": theirs_s}
    return [
        Figure(f"convert-four-{source.name}", ours.four_s / theirs_s, "of four runs", 0.25, "<=", sides, note=note),
        Figure(f"convert-four-{source.name}-and-import", ratio, "of four runs", 0.25, "<=", sides, note=_ONCE),
        Figure(f"convert-again-{source.name}", ours.again_s / theirs_s, "of four runs", 0.001, "<=", again),
    ]


def _further(source: Source, theirs: Theirs, ours: Ours) -> Sequence[Figure]:
    """What a class costs that comes when others have their variants already."""
    one_s = theirs.seconds[_LIKE_FURTHER]
    recipe = {"ours s": ours.recipe_s, "of which proof s": ours.proof_s, f"{_LIKE_FURTHER} run s": one_s}
    return [
        Figure(
            f"convert-further-recipe-{source.name}",
            ours.recipe_s / one_s,
            "of one run",
            0.02,
            "<=",
            recipe,
            note=f"{_FURTHER}, which no other class has; the proof is most of it, and a run of TFLiteConverter has none",
        ),
        Figure(
            f"convert-further-class-{source.name}",
            ours.class_s / one_s,
            "of one run",
            0.02,
            "<=",
            {"ours s": ours.class_s, f"{_LIKE_FURTHER} run s": one_s},
            note="another class, with other limits, and a recipe that one before it has",
        ),
    ]


def _sizes(source: Source, theirs: Theirs, ours: Ours) -> Sequence[Figure]:
    return [
        Figure(
            f"convert-size-{source.name}-{recipe}",
            ours.sizes[recipe] / theirs.sizes[recipe],
            "of TFLiteConverter's",
            1.02,
            "<=",
            {"ours B": ours.sizes[recipe], "theirs B": theirs.sizes[recipe]},
        )
        for recipe in _RECIPES
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


def _theirs(source: Source, warm_up: Source, folder: Path) -> Theirs:
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
    said = json.loads(out.read_text())
    return Theirs(said["import"], said["seconds"], said["bytes"])


async def _ours(source: Source, warm_up: Source, folder: Path) -> Ours:
    blobs = DirectoryBlobs(folder / "blobs")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        converter = LocalConverter(blobs, Path(work))
        try:
            await _convert(converter, await _requests(blobs, warm_up, *_RECIPES, _FURTHER))
            requests = await _requests(blobs, source, *_RECIPES)
            four = await _convert(converter, requests)
            again = await _convert(converter, requests)
            other = replace(
                requests[2], device_class="other", limits=ParityLimits(min_agreement=0.1, max_accuracy_drop=0.9)
            )
            further = await _convert(converter, await _requests(blobs, source, _FURTHER))
            return Ours(
                four_s=four.seconds,
                again_s=again.seconds,
                class_s=(await _convert(converter, [other])).seconds,
                recipe_s=further.seconds,
                proof_s=further.proof_s,
                sizes={made.recipe: made.size for made in four.made},
            )
        finally:
            await converter.close()


async def _requests(blobs: DirectoryBlobs, source: Source, *recipes: RecipeName) -> list[ConversionRequest]:
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
        for recipe in recipes
    ]


@dataclass(frozen=True)
class _Converted:
    made: Sequence[Made]
    seconds: float
    proof_s: float
    """Since the first variant was there to be run."""


async def _convert(converter: LocalConverter, requests: Sequence[ConversionRequest]) -> _Converted:
    evaluated: list[float] = []

    def progress(said: Progress) -> None:
        if said.stage == "evaluating" and said.percent >= _VARIANT_PERCENT:
            evaluated.append(time.perf_counter())

    began = time.perf_counter()
    outcomes = await asyncio.gather(*(converter.convert(request, progress) for request in requests))
    ended = time.perf_counter()
    made = [o.made for o in outcomes if o.made is not None]
    assert len(made) == len(requests), [o.refused for o in outcomes]
    return _Converted(made, ended - began, ended - evaluated[0] if evaluated else 0.0)
