"""Building an architecture in a worker: the only part of the zoo that runs keras.

Leaves out pretrained weights: they would have to be fetched, and their classes are seldom somebody's own.
"""

import math
from collections.abc import Callable
from pathlib import Path

from litefleet_controller.convert.opening.containment import check_keras_file
from litefleet_controller.convert.workers.owntasks import MODEL_FILE, Build, Built
from litefleet_controller.convert.zoo.every import architecture


def build(task: Build, stage: Callable[[str, int], None]) -> Built:
    """Write MODEL_FILE. The same task gives the same weights.

    Raises: ConversionError.
    """
    chosen = architecture(task.architecture)
    plan = chosen.plan(task.shape, task.classes, task.width)
    stage("loading TensorFlow", 5)
    import keras

    stage("building", 60)
    # Layer names count up in a process; from a clean slate the same task gives the same names.
    keras.backend.clear_session()
    keras.utils.set_random_seed(task.seed)
    model = chosen.build(plan)
    stage("writing", 90)
    path = Path(task.folder) / MODEL_FILE
    model.save(path)
    check_keras_file(path)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Built(parameters=model.count_params(), trainable=trainable, left_out=plan.left_out)
