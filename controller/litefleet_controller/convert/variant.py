"""One rung in a worker: quantize, run, compare with the source, keep golden samples. Decides nothing.

The numbers are returned whether they are good or bad; limits are applied to them in the controller (gate.py), so that
classes with different limits share one computation.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.datasets import load_evaluation
from litefleet_controller.convert.flatbuffer import arena_bytes, input_shape, operators, parse
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.precision import described, recipe_of
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.quantize import quantize
from litefleet_controller.convert.ranges import read_ranges
from litefleet_controller.convert.runner import Runner
from litefleet_controller.convert.tasks import GOLDEN_FILE, MODEL_FILE, Quantize, RungError, Variant
from litefleet_controller.resources.recipe import Tolerance
from litefleet_protocol.limits import MAX_GOLDEN_BYTES

_GOLDEN_SAMPLES = 4
_NPZ_OVERHEAD_BYTES = 4096


def make_variant(task: Quantize, stage: Callable[[str, int], None]) -> Variant:
    """Write MODEL_FILE and GOLDEN_FILE; the numbers.

    Raises: RungError, ConversionError.
    """
    folder = Path(task.folder)
    frozen = Path(task.frozen).read_bytes()
    with np.load(task.answers, allow_pickle=False) as data:
        source: Floats = data["y0"]
    stage("quantizing", 50)
    ranges = read_ranges(task.ranges) if task.ranges is not None else None
    model = frozen if _is_ready(frozen, task.recipe) else quantize(frozen, task.recipe, task.how, ranges)
    (folder / MODEL_FILE).write_bytes(model)
    stage("evaluating", 60)
    runner = Runner(folder / MODEL_FILE)
    evaluation = load_evaluation(task.evaluation, task.preprocess, input_shape(parse(frozen)), runner.classes)
    outputs = runner(evaluation.x, lambda share: stage("evaluating", 60 + int(38 * share)))
    _check_outputs(outputs[0], source)
    tolerance = _tolerance(task.how.tolerance, outputs[0], runner)
    golden, samples = _golden(evaluation.x, outputs)
    (folder / GOLDEN_FILE).write_bytes(golden)
    answers, expected = outputs[0].argmax(axis=1), source.argmax(axis=1)
    parsed = parse(model)
    return Variant(
        signature=runner.signature,
        operators=operators(parsed),
        arena_bytes=arena_bytes(parsed),
        golden_samples=samples,
        golden_tolerance=tolerance,
        agreement=float((answers == expected).mean()),
        accuracy=float((answers == evaluation.y).mean()),
        source_accuracy=float((expected == evaluation.y).mean()),
        evaluated=len(evaluation.x),
        classes=runner.classes,
    )


def _is_ready(frozen: bytes, recipe: RecipeName) -> bool:
    """Whether the source, a quantized `.tflite` file, is what the recipe would make: then it goes out as it is.

    Raises:
        RungError: `AlreadyQuantized`, when it is what another recipe makes.
    """
    model = parse(frozen)
    made_by = recipe_of(model)
    if made_by not in ("float32", recipe):
        raise RungError("AlreadyQuantized", described(model))
    return made_by == recipe != "float32"


def _check_outputs(got: Floats, source: Floats) -> None:
    if got.shape != source.shape:
        raise RungError("BadShape", f"the variant answers with the shape {got.shape}, the source with {source.shape}")
    bad = int(np.sum(~np.isfinite(got).all(axis=1)))
    if bad:
        raise RungError("BadOutput", f"the variant answers NaN or infinity for {bad} of {len(got)} samples")


def _tolerance(tolerance: Tolerance, outputs: Floats, runner: Runner) -> float:
    quantization = runner.signature.outputs[0].quantization
    steps = tolerance.steps * quantization.scale if quantization else 0.0
    reach = max(1.0, float(np.abs(outputs[:_GOLDEN_SAMPLES]).max()))
    return float(np.float32(max(tolerance.relative * reach, steps)))


def _golden(x: Floats, outputs: list[Floats]) -> tuple[bytes, int]:
    """Golden samples as .npz, and how many. The first few: any sample shows whether a board computes the same.

    `x0` float32 (N, ...) inputs after pre-processing, `y0`.. float32 (N, ...) the variant's own dequantized outputs.

    Raises:
        RungError: `TooLarge`, when not even one sample fits.
    """
    each = x[0].nbytes + sum(y[0].nbytes for y in outputs)
    samples = min(_GOLDEN_SAMPLES, len(x), (MAX_GOLDEN_BYTES - _NPZ_OVERHEAD_BYTES) // each)
    if samples == 0:
        raise RungError("TooLarge", f"one golden sample has {each} bytes; the limit is {MAX_GOLDEN_BYTES}")
    file = io.BytesIO()
    # numpy dates zip members 1980-01-01 and keeps their order, so equal arrays give equal bytes.
    arrays: dict[str, Any] = {"x0": x[:samples]} | {f"y{i}": y[:samples] for i, y in enumerate(outputs)}
    np.savez(file, **arrays)
    return file.getvalue(), samples
