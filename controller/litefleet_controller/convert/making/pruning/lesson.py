"""Training a Keras model further while, or after, it is pruned. The one place that trains; imports tensorflow.

What it is trained to are the source's own answers (Hinton et al. 2015, arXiv 1503.02531) and the true classes, half and
half: a variant must answer as its source does, and a well-trained source has more to say than the class alone.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from litefleet_controller.convert.samples.datasets import Training
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import FineTuning

_BATCH = 32
_MOMENTUM = 0.9
"""Of normalizations while training: Keras' usual 0.99 and 0.999 take thousands of steps to follow."""
_PREDICT_BATCH = 64
_TIMED = 10
"""Steps after the first, which is slow, that are timed to foretell what all of them take."""
_TOLD_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a model learns from, and how."""

    data: Training
    answers: Floats
    """The source's own, (N, classes): probabilities or logits, as it gives them."""
    epochs: int
    how: FineTuning

    @property
    def steps_an_epoch(self) -> int:
        """A batch that isn't full is left out, if there is another: normalizations would learn from a few samples."""
        return max(1, len(self.data) // _BATCH)

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.steps_an_epoch


def answers(model: Any, data: Training) -> Floats:
    """What `model` says of all of `data`, (N, classes) float32."""
    parts = [range(i, min(i + _PREDICT_BATCH, len(data))) for i in range(0, len(data), _PREDICT_BATCH)]
    return np.concatenate([np.asarray(model(data.batch(part), training=False)) for part in parts]).astype(np.float32)


def teach(
    model: Any,
    lesson: Lesson,
    stage: Callable[[str, float], None],
    before_step: Callable[[int], None] = lambda _: None,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Train all of `model`. `before_step` gets the number of each step; `stage` an epoch in words, and the share done.

    The same model and lesson give the same weights on a machine with as many processors.

    Raises:
        RungError: `TrainingTooLong`, `TrainingFailed` or `TrainingInvalid`.
    """
    _for_training(model)
    step = _step(model, lesson)
    # Kept apart from what shuffles: dropout draws from Keras' own generator, which prune.py seeds.
    rng = np.random.default_rng(lesson.how.seed)
    done, told, clock = 0, 0.0, _Clock(lesson.steps)
    for epoch in range(lesson.epochs):
        order = rng.permutation(len(lesson.data))
        for at in range(lesson.steps_an_epoch):
            if time.monotonic() - told > _TOLD_EVERY_S:
                stage(f"training epoch {epoch + 1}/{lesson.epochs}", done / lesson.steps)
                told = time.monotonic()
            before_step(done)
            chosen = order[at * _BATCH : (at + 1) * _BATCH]
            loss = float(step(lesson.data.batch(chosen), _targets(lesson, chosen)))
            if not np.isfinite(loss):
                raise RungError(
                    "TrainingFailed", f"the pruned model's loss is {loss} in epoch {epoch + 1} of its training"
                )
            after_step()
            done += 1
            clock.tick(done)


def _for_training(model: Any) -> None:
    import keras

    # Layers that were frozen when the model was trained have to make up for what they lose, too.
    model.trainable = True
    for layer in every_layer(model):
        layer.trainable = True
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, _MOMENTUM)


def every_layer(model: Any) -> list[Any]:
    """All layers, those of models within the model, too; in their order."""
    found: list[Any] = []
    for layer in model.layers:
        found += every_layer(layer) if hasattr(layer, "layers") else [layer]
    return found


def _step(model: Any, lesson: Lesson) -> Callable[[Floats, Floats], Any]:
    """One step of the optimizer: inputs and wanted probabilities to the loss."""
    import keras
    import tensorflow as tf

    rate = keras.optimizers.schedules.CosineDecay(lesson.how.learning_rate, lesson.steps)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)
    are_logits = not _are_probabilities(lesson.answers)
    given = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    wanted = tf.TensorSpec((None, lesson.answers.shape[1]), tf.float32)

    def step(x: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            said = model(x, training=True)
            losses = keras.losses.categorical_crossentropy(targets, said, from_logits=are_logits)
            loss = tf.reduce_mean(losses) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return tf.function(step, input_signature=[given, wanted], autograph=False)  # type: ignore[no-any-return]


def _targets(lesson: Lesson, chosen: Any) -> Floats:
    """What the model is to say of those samples, (N, classes) probabilities."""
    answered = lesson.answers[chosen]
    if not _are_probabilities(lesson.answers):
        raised = np.exp(answered - answered.max(axis=1, keepdims=True))
        answered = raised / raised.sum(axis=1, keepdims=True)
    true = np.eye(answered.shape[1], dtype=np.float32)[lesson.data.y[chosen]]
    wanted: Floats = (answered + true) / 2
    return wanted


def _are_probabilities(answers: Floats) -> bool:
    return bool(np.all(answers >= 0) and np.all(np.abs(answers.sum(axis=1) - 1) < 1e-3))


def check_time(each_s: float, steps: int, left_s: float) -> None:
    """Whether `steps` of `each_s` of CPU time fit into what is left: nobody waits an hour to hear that they don't.

    Raises:
        RungError: `TrainingTooLong`.
    """
    if each_s * steps > left_s:
        raise RungError(
            "TrainingTooLong",
            f"training the pruned model would take about {each_s * steps:.0f} s of CPU time, and there are "
            f"{left_s:.0f}: set fewer spec.training.samples or epochs",
        )


class _Clock:
    """Times the first steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._limit, _ = resource.getrlimit(resource.RLIMIT_CPU)
        self._began = 0.0

    def tick(self, done: int) -> None:
        """Raises: RungError; see `check_time`."""
        if done == 1:
            self._began = time.process_time()
        if done != 1 + _TIMED or self._limit == resource.RLIM_INFINITY:
            return
        each = (time.process_time() - self._began) / _TIMED
        check_time(each, self._steps - done, self._limit - time.process_time())
