"""From a `.keras` file to one float32 `.tflite` with every dimension fixed, and the source's own answers.

The only module that imports tensorflow (training aside), and only inside its function: the import takes seconds, and a
source that containment refuses must not pay them. All variants are made of the frozen file without tensorflow, so this
is paid once for a source. Runs in workers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.containment import check_keras_file
from litefleet_controller.convert.datasets import load_evaluation
from litefleet_controller.convert.flatbuffer import operators, parse, with_signature
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import ANSWERS_FILE, FROZEN_FILE, Freeze, Frozen

_PREDICT_BATCH = 64


def freeze(task: Freeze, stage: Callable[[str, int], None]) -> Frozen:
    """Write FROZEN_FILE, and ANSWERS_FILE with `y0` (N, classes) float32: what the source itself says.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    stage("loading", 2)
    check_keras_file(Path(task.source))
    model = _load(Path(task.source), folder)
    input_shape, classes = _check_signature(model)
    evaluation = load_evaluation(task.evaluation, task.preprocess, input_shape, classes)
    stage("freezing", 20)
    frozen = _frozen(model, input_shape)
    (folder / FROZEN_FILE).write_bytes(frozen)
    stage("evaluating", 40)
    np.savez(folder / ANSWERS_FILE, y0=_answers(model, evaluation.x))
    return Frozen(classes=classes)


def _load(source: Path, folder: Path) -> Any:
    import keras

    # Keras decides by the name's ending what a file is; blobs are named by their hash.
    named = folder / "source.keras"
    named.symlink_to(source)
    keras.backend.clear_session()
    try:
        return keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as e:
        raise ConversionError(
            "FormatMismatch",
            f"Keras can't load the source: {_first_line(e)}",
            final=True,
            hint=f"it was read with keras {keras.__version__}; save it with the same or an older version",
        ) from e


def _check_signature(model: Any) -> tuple[tuple[int, ...], int]:
    """Input shape with a batch of 1, and the number of classes.

    Raises:
        ConversionError: `BadShape` or `FormatUnsupported`.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ConversionError(
            "FormatUnsupported",
            f"the source has {len(model.inputs)} inputs and outputs {[tuple(o.shape) for o in model.outputs]}; "
            "this version converts classifiers with one input and one output (batch, classes)",
            final=True,
        )
    tensor, output = model.inputs[0], model.outputs[0]
    shape = tuple(tensor.shape)
    if any(n is None for n in (*shape[1:], output.shape[1])):
        raise ConversionError(
            "BadShape",
            f"the source's input has the shape {shape}: every dimension but the batch must be a number",
            final=True,
            hint="build the model with a fixed input size, e.g. keras.Input((224, 224, 3)), and save it again",
        )
    if tensor.dtype != "float32":
        raise ConversionError("BadShape", f"the source's input is {tensor.dtype}, not float32", final=True)
    return (1, *shape[1:]), int(output.shape[1])


def _frozen(model: Any, input_shape: tuple[int, ...]) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(lambda x: model(x, training=False), autograph=False)
    try:
        concrete = function.get_concrete_function(tf.TensorSpec(input_shape, tf.float32, name="input"))
        # Without this step the converter writes a file without weights for Keras 3 models, and says nothing.
        constant = convert_variables_to_constants_v2(concrete)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([constant])
        # Not SELECT_TF_OPS: an operator that LiteRT doesn't have is refused here and not on a board.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        data = with_signature(bytes(converter.convert()), "input", (model.outputs[0].name.split("/")[-1],))
    except Exception as e:
        unsupported = "needs to be supported" in str(e) or "Flex" in str(e) or "neither a custom op" in str(e)
        raise ConversionError(
            "UnsupportedOp" if unsupported else "ConversionFailed",
            f"TensorFlow can't convert the source: {_first_line(e)}",
            final=True,
            hint="replace the layer with one that LiteRT supports" if unsupported else "",
        ) from e
    operators(parse(data))
    return data


def _answers(model: Any, x: Floats) -> Floats:
    answers = np.concatenate(
        [np.asarray(model(x[i : i + _PREDICT_BATCH], training=False)) for i in range(0, len(x), _PREDICT_BATCH)]
    ).astype(np.float32)
    bad = int(np.sum(~np.isfinite(answers).all(axis=1)))
    if bad:
        raise ConversionError(
            "BadOutput", f"the source itself answers NaN or infinity for {bad} of {len(x)} samples", final=True
        )
    return answers


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:240]
