"""The task of a worker: fit a `.keras` model to examples, and keep the best of its epochs.

The best one lies in the task's folder whole at any time, so that whoever ends the worker has it.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.fitting.arrays import ArrayExamples
from litefleet_controller.convert.fitting.examples import Examples, Split, split
from litefleet_controller.convert.fitting.lessons import Lessons, give
from litefleet_controller.convert.fitting.pictures import PictureExamples
from litefleet_controller.convert.interface import MAX_EVALUATED, ConversionError
from litefleet_controller.convert.opening.loading import Asked, Opened, load_keras, opened
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.owntasks import CALIBRATION_FILE, EVALUATION_FILE, Fit, Fitted
from litefleet_controller.convert.workers.tasks import RungError, Stage
from litefleet_protocol.tensors import Preprocess

_CALIBRATION_SAMPLES = 100
_TOLD_EVERY_S = 0.5
_LOOKED_AT = 256
"""Examples that are looked at before training begins."""

Report = Callable[[Stage], None]


def fit(task: Fit, report: Report) -> Fitted:
    """Write MODEL_FILE after each epoch that is the best so far; EVALUATION_FILE and CALIBRATION_FILE before the first.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    report(Stage(stage="loading TensorFlow", percent=0))
    import keras
    import tensorflow as tf

    # For the same weights from the same task on the same machine; before anything random runs.
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(task.seed)
    model = load_keras(Path(task.model), folder)
    edges = opened(model, Asked())
    report(Stage(stage="reading the data", percent=2))
    try:
        examples = _examples(task, edges, report)
        parts = split(examples.y, task.held_out, task.seed)
        looked_at = examples.batch(parts.training[:_LOOKED_AT])
        are_logits = not _are_probabilities(np.asarray(model(looked_at[:2], training=False)))
        for note in _doubts(model, looked_at):
            report(Stage(stage="reading the data", percent=4, note=note))
        _write_sets(folder, examples, parts)
        epochs = give(Lessons(task, model, examples, parts, are_logits), report)
    except RungError as e:
        # The sentence is about a Model's data sets; what is wrong with these stands behind it.
        message = f"{task.data!r} can't be trained on: {e.__cause__ or e}"
        raise ConversionError("TrainingInvalid", message, final=True) from e
    return Fitted(
        labels=examples.labels,
        preprocess=_on_boards(task, edges),
        trained_on=len(parts.training),
        held_out=len(parts.held_out),
        epochs=epochs,
        are_logits=are_logits,
    )


def _examples(task: Fit, edges: Opened, report: Report) -> Examples:
    spec = _on_boards(task, edges)
    if (folder := Path(task.data)).is_dir():
        told = _Seldom(report)
        return PictureExamples(folder, spec, edges.input_shape, edges.classes, told.images)
    # Arrays of another size are a mistake; photographs have any.
    plain = Preprocess(channels=spec.channels, scale=spec.scale, offset=spec.offset)
    return ArrayExamples(task.data, plain, edges.input_shape, edges.classes)


class _Seldom:
    """Tells how many images are decoded, a few times a second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last = -math.inf

    def images(self, done: int, of: int) -> None:
        if time.monotonic() - self._last > _TOLD_EVERY_S:
            self._last = time.monotonic()
            self._report(Stage(stage=f"decoding {of} images", percent=2 + 3 * done // of))


def _on_boards(task: Fit, edges: Opened) -> Preprocess:
    """What a Model has to say in `input.preprocess` for boards to see what was trained on."""
    if len(edges.input_shape) != 4:
        return Preprocess(scale=task.scale, offset=task.offset)
    _, height, width, channels = edges.input_shape
    return Preprocess(resize=(height, width), channels=channels, scale=task.scale, offset=task.offset)


def _are_probabilities(answers: Floats) -> bool:
    return bool(np.all(answers >= 0) and np.all(np.abs(answers.sum(axis=1) - 1) < 1e-3))


def _doubts(model: Any, x: Floats) -> list[str]:
    """Whether inputs look as if they were scaled for another model."""
    import keras

    reach = float(np.abs(x).max())
    scales = [float(np.min(layer.scale)) for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    if scales and reach * scales[0] < 0.05:
        return [
            f"inputs reach {reach:g} at most, and the model's first layer scales pixels of 0 to 255: is --scale right?"
        ]
    normalizes = any(isinstance(layer, keras.layers.Normalization) for layer in model.layers)
    if not scales and not normalizes and reach > 50:
        return [f"inputs reach {reach:g}, and the model doesn't scale them: --scale 0.00392157 makes 0 to 1 of pixels"]
    return []


def _write_sets(folder: Path, examples: Examples, parts: Split) -> None:
    """What a Model needs beside its source: examples that nothing was trained on, and some that show ranges."""
    aside, shown = parts.held_out[:MAX_EVALUATED], parts.training[:_CALIBRATION_SAMPLES]
    np.savez(folder / EVALUATION_FILE, x=examples.raw(aside), y=examples.y[aside])
    np.savez(folder / CALIBRATION_FILE, x=examples.raw(shown))
