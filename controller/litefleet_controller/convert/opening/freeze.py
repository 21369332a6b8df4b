"""From a source that TensorFlow opens to one float32 `.tflite`, every dimension fixed, and the source's own answers.

All variants are made of the frozen file without tensorflow, so this is paid once for a source. A `.tflite` file that is
a source itself never comes here: see foreign.py. Runs in workers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from litefleet_controller.convert.engines.interface import stacked
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.edges import names_of
from litefleet_controller.convert.opening.loading import Asked, Opened, first_line, open_keras, open_saved_model
from litefleet_controller.convert.proving.answers import write_answers
from litefleet_controller.convert.samples.datasets import load_evaluation, most_evaluated
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.flatbuffer import check_operators, parse, with_signature
from litefleet_controller.convert.workers.tasks import FROZEN_FILE, Freeze, Frozen


def freeze(task: Freeze, stage: Callable[[str, int], None]) -> Frozen:
    """Write FROZEN_FILE, and ANSWERS_FILE with each output's `y0`.. (N, ...) float32: what the source itself says.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    stage("loading", 2)
    opened = _open(task, folder)
    most = most_evaluated([tuple(n or 1 for n in output.shape) for output in opened.outputs])
    evaluation = load_evaluation(task.evaluation, task.preprocess, opened.input_shape, opened.classes, most)
    stage("freezing", 20)
    made = frozen(opened)
    (folder / FROZEN_FILE).write_bytes(made.data)
    stage("evaluating", 40)
    write_answers(folder, _answers(opened, made, evaluation.x))
    return Frozen(classes=opened.classes, outputs=names_of(opened.outputs))


def _open(task: Freeze, folder: Path) -> Opened:
    asked = Asked(task.metric, task.input_shape)
    if task.source_format == "keras":
        return open_keras(Path(task.source), folder, asked)
    return open_saved_model(Path(task.source), folder, task.source_signature, asked)


class Graph(NamedTuple):
    """A model without variables, for a batch of 1."""

    data: bytes
    """The float32 `.tflite` file, its input named `input`."""
    call: Callable[[Any], Any]
    """What it was made of, as TensorFlow runs it: one input to the list of outputs."""


def frozen(opened: Opened) -> Graph:
    """Freeze the model.

    Raises:
        ConversionError: final; `UnsupportedOp` or `ConversionFailed`.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(opened.call, autograph=False)
    try:
        concrete = function.get_concrete_function(tf.TensorSpec(opened.input_shape, tf.float32, name="input"))
        # Without this step the converter writes a file without weights for Keras 3 models, and says nothing.
        constant = convert_variables_to_constants_v2(concrete)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([constant])
        # Not SELECT_TF_OPS: an operator that LiteRT doesn't have is refused here and not on a board.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        data = with_signature(bytes(converter.convert()), "input", names_of(opened.outputs))
    except Exception as e:
        unsupported = "needs to be supported" in str(e) or "Flex" in str(e) or "neither a custom op" in str(e)
        raise ConversionError(
            "UnsupportedOp" if unsupported else "ConversionFailed",
            f"TensorFlow can't convert the source: {first_line(e)}",
            final=True,
            hint="replace the layer with one that LiteRT supports" if unsupported else "",
        ) from e
    check_operators(parse(data))
    return Graph(data, constant)


def _answers(opened: Opened, graph: Graph, x: Floats) -> list[Floats]:
    """Each output (N, ...), as `run` has a variant's; by TensorFlow, and not by what was made of the source.

    As a graph, which takes half the time of one operator after the other. The one for a batch of 1 is there already;
    tracing another one for many at a time pays from some dozen samples on.
    """
    import tensorflow as tf

    if opened.batch == 1 or len(x) <= opened.batch:
        singly = [[np.asarray(y, np.float32) for y in graph.call(tf.constant(x[i : i + 1]))] for i in range(len(x))]
        return [stacked(list(output)) for output in zip(*singly, strict=True)]
    several = tf.TensorSpec((None, *opened.input_shape[1:]), tf.float32)
    call = tf.function(opened.call, autograph=False, input_signature=[several])
    batches = [
        [np.asarray(y, np.float32) for y in call(tf.constant(x[i : i + opened.batch]))]
        for i in range(0, len(x), opened.batch)
    ]
    return [np.concatenate(output) for output in zip(*batches, strict=True)]
