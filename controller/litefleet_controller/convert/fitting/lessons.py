"""Epoch after epoch of training with Keras, until nothing gets better any more. Imports keras when it begins."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.fitting.examples import Examples, Numbers, Split
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.making.pruning.lesson import every_layer
from litefleet_controller.convert.workers.owntasks import MODEL_FILE, Epoch, Fit
from litefleet_controller.convert.workers.tasks import Stage

_MOMENTUM = 0.9
"""Of normalizations while training: Keras' usual 0.99 and 0.999 take thousands of steps to follow."""
_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises: networks without normalization may die of the first ones."""
_BEGUN = 5
"""Percent of the whole task, when training begins."""
_TOLD_EVERY_S = 0.5

Report = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a model learns, and how."""

    task: Fit
    model: Any
    """A keras.Model; it is changed."""
    examples: Examples
    parts: Split
    are_logits: bool

    @property
    def steps_an_epoch(self) -> int:
        """A batch that isn't full is left out, if there is another: normalizations would learn from a few examples."""
        return max(1, len(self.parts.training) // self.task.batch)

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.steps_an_epoch * self.task.epochs


def give(lessons: Lessons, report: Report) -> tuple[Epoch, ...]:
    """Train. After each epoch that is the best so far, MODEL_FILE is what the model is then.

    Raises:
        ConversionError: final; `TrainingFailed`.
        RungError: for examples that turn out to be no good.
    """
    import keras

    task, model = lessons.task, lessons.model
    # Written in the model's place: without the optimizer, and with normalizations as they were.
    twin = keras.models.clone_model(model)
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, _MOMENTUM)
    model.compile(
        optimizer=keras.optimizers.Adam(_learning_rate(lessons)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=lessons.are_logits),
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than a short training
    )
    watcher = _watcher(lessons, twin, report)
    model.fit(
        _batches(lessons.examples, lessons.parts.training, task.batch, lessons.steps_an_epoch, task.seed),
        validation_data=_batches(
            lessons.examples, lessons.parts.held_out, task.batch, math.ceil(len(lessons.parts.held_out) / task.batch)
        ),
        epochs=task.epochs,
        callbacks=[watcher],
        shuffle=False,  # _batches does it
        verbose=0,
    )
    return tuple(watcher.epochs)


def _learning_rate(lessons: Lessons) -> Any:
    """Rising to the task's, then falling to 0 by a half cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""
    import keras

    rate, warm = lessons.task.learning_rate, int(_WARM_UP * lessons.steps)
    schedule = keras.optimizers.schedules.CosineDecay
    if not warm:
        return schedule(rate, lessons.steps)
    return schedule(rate / 10, lessons.steps - warm, warmup_target=rate, warmup_steps=warm)


def _batches(examples: Examples, chosen: Numbers, size: int, steps: int, seed: int | None = None) -> Any:
    """A keras.utils.PyDataset of `steps` batches, in another order each epoch where there is a seed."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras has no types
        def __init__(self) -> None:
            super().__init__()
            self._order = chosen
            self._rng = np.random.default_rng(seed)
            self.on_epoch_end()

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            part = self._order[index * size : (index + 1) * size]
            return examples.batch(part), examples.y[part]

        def on_epoch_end(self) -> None:
            if seed is not None:
                self._order = self._rng.permutation(chosen)

    return Batches()


def _watcher(lessons: Lessons, twin: Any, report: Report) -> Any:
    """A keras.callbacks.Callback that tells how far it is, keeps the best and ends what leads nowhere."""
    import keras

    task, folder = lessons.task, Path(lessons.task.folder)

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.epochs: list[Epoch] = []
            self._best: Epoch | None = None
            self._epoch = 0
            self._told = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            del logs
            self._epoch = epoch + 1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if logs is not None and not math.isfinite(logs["loss"]):
                raise ConversionError(
                    "TrainingFailed",
                    f"the loss is {logs['loss']} in epoch {self._epoch}: the model learns nothing any more",
                    final=True,
                    hint=f"set a --learning-rate below {task.learning_rate:g}",
                )
            if time.monotonic() - self._told > _TOLD_EVERY_S:
                self._told = time.monotonic()
                self._tell((self._epoch - 1) * lessons.steps_an_epoch + batch + 1)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            said = logs or {}
            done = Epoch(
                number=epoch + 1,
                loss=float(said["loss"]),
                accuracy=float(said["accuracy"]),
                held_out_loss=float(said["val_loss"]),
                held_out_accuracy=float(said["val_accuracy"]),
            )
            self.epochs.append(done)
            if self._best is None or done.is_better_than(self._best):
                self._best = done
                _keep(self.model, twin, folder)
            self._tell(done.number * lessons.steps_an_epoch, done)
            if done.number - self._best.number >= task.patience:
                self.model.stop_training = True

        def _tell(self, steps: int, epoch: Epoch | None = None) -> None:
            percent = _BEGUN + (100 - _BEGUN) * steps // lessons.steps
            report(Stage(stage=f"training, epoch {self._epoch} of {task.epochs}", percent=percent, epoch=epoch))

    return Watcher()


def _keep(model: Any, twin: Any, folder: Path) -> None:
    """Write MODEL_FILE, whole at any time: who ends this process takes what is there."""
    twin.set_weights(model.get_weights())
    # Keras decides by the name's ending what it writes.
    unfinished = folder / f"unfinished-{MODEL_FILE}"
    twin.save(unfinished)
    unfinished.replace(folder / MODEL_FILE)
