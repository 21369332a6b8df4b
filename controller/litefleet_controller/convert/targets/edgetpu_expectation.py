"""What a board must answer with a file that nothing here can run: as the source does, and how nearly.

The yardstick is the same source quantized here to int8 (the twin), unless the Model says a number. Runs in workers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.proving.detecting import certain, golden_detections
from litefleet_controller.convert.samples.golden import golden_file, tolerances
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.targets.edgetpu_range import Range
from litefleet_controller.convert.tflite.detections import Detections
from litefleet_controller.convert.workers.tasks import CheckPrebuilt, RungError
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import TensorSpec

_SAMPLES, _LEAST_SAMPLES = 16, 4
_GOLDEN_BYTES = 2 * 1024 * 1024
"""More golden samples than others have, for they alone say whether the file answers as the source does; but no more
bytes than these for a board to fetch, unless the least number has more."""
_COMPARED = 200
"""Evaluation samples that the twin's distance from the source is measured on."""


def allowed(
    task: CheckPrebuilt,
    x: Floats,
    source: Sequence[Floats],
    specs: Sequence[TensorSpec],
    where: Detections | None,
    stage: Callable[[str, int], None],
) -> tuple[tuple[float, ...], str]:
    """How far a board's answers may be from the source's, for each output, and why so far."""
    if task.tolerance is not None:
        return (task.tolerance,) * len(specs), f"{task.tolerance:.4g}, as the Model says"
    if task.twin is None:
        raise AssertionError("without a twin the Model must say it: the controller looks before it asks")
    try:
        runner = LiteRTRunner(Path(task.twin))
        made = run(runner, x[:_COMPARED], lambda share: stage("comparing", 90 + int(8 * share)))
    except RungError as e:
        raise ConversionError(e.code, f"what was made here for comparison: {e}", final=True) from e
    rounding = tolerances(task.rounding, task.metric, made, runner.signature.outputs)
    apart = _apart([y[:_COMPARED] for y in source], made, where, rounding)
    steps = [room.step / 2 if (room := Range.of(spec)) is not None else 0.0 for spec in specs]
    found = tuple(float(np.float32(sum(parts))) for parts in zip(apart, rounding, steps, strict=True))
    measured = f"the {task.twin_recipe} made here is off by up to {max(apart):.4g} on {len(made[0])} samples"
    return found, f"{max(found):.4g}, for {measured}"


def _apart(
    source: Sequence[Floats], twin: Sequence[Floats], where: Detections | None, rounding: Sequence[float]
) -> list[float]:
    """The largest difference in each output; of detections, in the rows that the source is certain of.

    Scores are in order, so that two lists' scores can be compared as they are, and how far they are apart says which
    rows can't have moved.
    """
    apart = [float(np.abs(a - b).max(initial=0.0)) for a, b in zip(source, twin, strict=True)]
    if where is not None:
        picked, rows = certain(source, where, 2 * (apart[where.scores] + rounding[where.scores]), _SAMPLES)
        for n in (where.boxes, where.classes):
            apart[n] = float(np.abs(source[n][picked, :rows] - twin[n][picked, :rows]).max(initial=0.0))
    return apart


def write_golden(
    task: CheckPrebuilt, x: Floats, source: Sequence[Floats], where: Detections | None, tolerance: tuple[float, ...]
) -> tuple[int, tuple[float, ...]]:
    """Write GOLDEN_FILE; how many samples, and the tolerances."""
    most = min(_SAMPLES, max(_LEAST_SAMPLES, _GOLDEN_BYTES // x[0].nbytes))
    try:
        if where is None:
            golden, samples = golden_file(x, source, most=most)
        else:
            of = slice(_COMPARED)
            golden, samples, tolerance = golden_detections(x[of], [y[of] for y in source], where, tolerance, most)
    except RungError as e:
        raise ConversionError(e.code, str(e), final=True) from e
    (Path(task.folder) / GOLDEN_FILE).write_bytes(golden)
    return samples, tolerance
