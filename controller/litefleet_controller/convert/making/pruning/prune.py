"""The task of a worker: from a source and its frozen file to the frozen file of the pruned model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from litefleet_controller.convert.making.pruning.once import layers_of, overall, pruned_once
from litefleet_controller.convert.making.pruning.plan import why_not_trained
from litefleet_controller.convert.pruned import Pruned, PrunedLayer
from litefleet_controller.convert.workers.tasks import FROZEN_FILE, Prune, PrunedModel
from litefleet_controller.resources.recipe import Magnitude

Told = Callable[[str, int], None]


def prune(task: Prune, stage: Told) -> PrunedModel:
    """Write FROZEN_FILE.

    Raises: RungError, ConversionError.
    """
    stage("pruning", 0)
    made, pruned = (_once if task.training is None else _trained)(task, stage)
    (Path(task.folder) / FROZEN_FILE).write_bytes(made)
    return PrunedModel(pruned=pruned)


def _once(task: Prune, _: Told) -> tuple[bytes, Pruned]:
    how = task.pruning
    if not isinstance(how, Magnitude):
        raise TypeError("plan.py lets nothing else be pruned without training")
    made = pruned_once(Path(task.frozen).read_bytes(), how.sparsity_once, how.min_weights)
    layers = layers_of(made)
    note = f"pruned to {overall(layers):.0%} zeros at once, without training: {why_not_trained(task.source_format)}"
    return made, Pruned(method="magnitude", sparsity=overall(layers), layers=layers, note=note)


def _trained(task: Prune, stage: Told) -> tuple[bytes, Pruned]:
    from litefleet_controller.convert.making.pruning.channels import without_channels
    from litefleet_controller.convert.making.pruning.gradual import pruned_gradually
    from litefleet_controller.convert.making.pruning.lesson import teach
    from litefleet_controller.convert.opening.freeze import frozen
    from litefleet_controller.convert.opening.loading import Asked, load_keras, opened

    model, how = load_keras(Path(task.source), Path(task.folder)), task.pruning
    lesson = _lesson(task, model)
    stage("training", 2)

    def told(said: str, share: float) -> None:
        stage(said, 2 + int(90 * share))

    taken: tuple[PrunedLayer, ...] | None = None
    if isinstance(how, Magnitude):
        pruned_gradually(model, how, lesson, told)
    else:
        model, taken = without_channels(model, how)
        teach(model, lesson, told)
    stage("freezing", 93)
    made = frozen(opened(model, Asked())).data
    trained = f"{lesson.epochs} epochs of training on {len(lesson.data)} samples"
    if taken is None:
        layers = layers_of(made)
        sparsity, note = overall(layers), f"pruned to {overall(layers):.0%} zeros in {trained}"
    else:
        layers = taken
        sparsity = 1 - _weights(made) / max(_weights(Path(task.frozen).read_bytes()), 1)
        note = f"{sparsity:.0%} of the weights taken out with whole filters, then {trained}"
    method, seed = ("magnitude" if taken is None else "channels"), lesson.how.seed
    return made, Pruned(
        method=method,
        sparsity=sparsity,
        layers=layers,
        epochs=lesson.epochs,
        samples=len(lesson.data),
        seed=seed,
        note=note,
    )


def _weights(frozen: bytes) -> int:
    return sum(layer.weights for layer in layers_of(frozen))


def _lesson(task: Prune, model: Any) -> Any:
    import keras
    import tensorflow as tf

    from litefleet_controller.convert.making.pruning.lesson import Lesson, answers
    from litefleet_controller.convert.opening.loading import Asked, opened
    from litefleet_controller.convert.samples.datasets import load_training

    trained_on, how = task.trained_on, task.pruning.fine_tuning
    if task.training is None or trained_on is None:
        raise AssertionError("a lesson needs data")
    # For the same weights every time; before anything random runs.
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(how.seed)
    edges = opened(model, Asked())
    data = load_training(task.training, trained_on.samples, task.preprocess, edges.input_shape, edges.classes)
    return Lesson(data, answers(model, data), trained_on.epochs or how.epochs, how)
