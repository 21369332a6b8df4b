"""From a source that TensorFlow opens to one float32 `.tflite`, every dimension fixed, and the source's own answers.

All variants are made of the frozen file without tensorflow, so this is paid once for a source. A `.tflite` file that is
a source itself never comes here: see foreign.py. Runs in workers.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from litefleet_controller.convert.answers import write_answers
from litefleet_controller.convert.datasets import load_evaluation, most_evaluated
from litefleet_controller.convert.edges import names_of
from litefleet_controller.convert.engines.interface import stacked
from litefleet_controller.convert.flatbuffer import check_operators, parse, with_signature
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.loading import Asked, Opened, first_line, open_keras, open_saved_model
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import FROZEN_FILE, Freeze, Frozen


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
    (folder / FROZEN_FILE).write_bytes(frozen(opened))
    stage("evaluating", 40)
    write_answers(folder, _answers(opened, evaluation.x))
    return Frozen(classes=opened.classes, outputs=names_of(opened.outputs))


def _open(task: Freeze, folder: Path) -> Opened:
    asked = Asked(task.metric, task.input_shape)
    if task.source_format == "keras":
        return open_keras(Path(task.source), folder, asked)
    return open_saved_model(Path(task.source), folder, task.source_signature, asked)


def frozen(opened: Opened) -> bytes:
    """The model as a float32 `.tflite` file for a batch of 1, its input named `input`.

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
    return data


def _answers(opened: Opened, x: Floats) -> list[Floats]:
    """Each output (N, ...), as `run` has a variant's."""
    if opened.batch == 1:
        singly = [[np.asarray(y, np.float32) for y in opened.call(x[i : i + 1])] for i in range(len(x))]
        return [stacked(list(output)) for output in zip(*singly, strict=True)]
    batches = [
        [np.asarray(y, np.float32) for y in opened.call(x[i : i + opened.batch])]
        for i in range(0, len(x), opened.batch)
    ]
    return [np.concatenate(output) for output in zip(*batches, strict=True)]
