"""Opening a source with TensorFlow: a `.keras` file or a SavedModel becomes a function, and what goes in and out.

What must not be opened at all was refused before (containment.py, savedmodel.py). tensorflow and keras are imported
inside the functions: the import takes seconds, and a refused source must not pay them. Runs in workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.containment import check_keras_file
from litefleet_controller.convert.edges import Edge, check_edges
from litefleet_controller.convert.graphops import SAVER
from litefleet_controller.convert.interface import ConversionError, Metric
from litefleet_controller.convert.savedmodel import check_graph, unpack

_PREDICT_BATCH = 64


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that TensorFlow can run."""

    call: Callable[[Any], Any]
    """float32 (batch, ...) to the list of outputs (batch, ...), eagerly and inside a tf.function."""
    input_shape: tuple[int, ...]
    """With a batch of 1."""
    outputs: tuple[Edge, ...]
    classes: int
    """Of a classifier; 0 for other models."""
    batch: int
    """Samples that `call` takes at once when it answers the evaluation set."""


def open_keras(source: Path, folder: Path, metric: Metric) -> Opened:
    """The `.keras` file at `source`.

    Raises:
        ConversionError: final; see `load_keras` and `opened`.
    """
    return opened(load_keras(source, folder), metric)


def load_keras(source: Path, folder: Path) -> Any:
    """The `.keras` file at `source` as a keras.Model.

    Raises:
        ConversionError: final; see `check_keras_file`, and `FormatMismatch`.
    """
    check_keras_file(source)
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
            f"Keras can't load the source: {first_line(e)}",
            final=True,
            hint=f"it was read with keras {keras.__version__}; save it with the same or an older version",
        ) from e


def opened(model: Any, metric: Metric) -> Opened:
    """A keras.Model as what converts and answers.

    Raises:
        ConversionError: final; `FormatUnsupported` or `BadShape`.
    """
    import keras

    outputs = [Edge(n, tuple(t.shape), t.dtype) for n, t in zip(_output_names(model), model.outputs, strict=True)]
    shape, classes = _check_tensors([Edge(t.name, tuple(t.shape), t.dtype) for t in model.inputs], outputs, metric)
    return Opened(
        lambda x: keras.tree.flatten(model(x, training=False)),
        (1, *shape[1:]),
        tuple(outputs),
        classes,
        _batch(None, outputs),
    )


def _output_names(model: Any) -> list[str]:
    """The keys of a dict of outputs, in the order that Keras flattens it; else what the layers are called."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict) and len(structure) == len(model.outputs):
        return sorted(structure)
    return [t.name.split("/")[-1] for t in model.outputs]


def _batch(given: int | None, outputs: Sequence[Edge]) -> int:
    """Samples at a time: what comes out must be theirs one by one."""
    return _PREDICT_BATCH if given is None and all(o.shape and o.shape[0] is None for o in outputs) else 1


def open_saved_model(source: Path, folder: Path, signature: str | None, metric: Metric) -> Opened:
    """The packed SavedModel at `source`, by `signature`, or by serving_default or the only one.

    Raises:
        ConversionError: final; see `unpack` and `check_graph`, and `FormatMismatch`, `FormatUnsupported`, `BadShape`
            or `UnsafeOp`.
    """
    unpacked = unpack(source, folder)
    key = check_graph(unpacked, signature)
    import tensorflow as tf

    try:
        loaded: Any = tf.saved_model.load(str(unpacked))
        function = loaded.signatures[key]
    except Exception as e:
        raise ConversionError(
            "FormatMismatch",
            f"TensorFlow can't load the source: {first_line(e)}",
            final=True,
            hint=f"it was read with tensorflow {tf.__version__}; save it with the same or an older version",
        ) from e
    _check_reached(function.graph.as_graph_def(), key)
    _, given = function.structured_input_signature
    # A SavedModel keeps them in a map, which has no order.
    made = sorted(function.structured_outputs.items())
    outputs = [Edge(name, _dimensions(t), t.dtype.name) for name, t in made]
    inputs = [Edge(name, _dimensions(t), t.dtype.name) for name, t in given.items()]
    shape, classes = _check_tensors(inputs, outputs, metric)
    if shape[0] not in (None, 1):
        refuse(
            "BadShape",
            f"the source's signature {key!r} takes {shape[0]} samples at a time, and boards infer one at a time",
            "export it with a batch of None or 1",
        )
    (input_name,) = given

    def call(x: Any) -> Any:
        # `loaded` owns the variables, and the function holds them weakly.
        answers = loaded.signatures[key](**{input_name: tf.convert_to_tensor(x)})
        return [answers[output.name] for output in outputs]

    return Opened(call, (1, *shape[1:]), tuple(outputs), classes, _batch(shape[0], outputs))


def _check_tensors(inputs: Sequence[Edge], outputs: Sequence[Edge], metric: Metric) -> tuple[tuple[int, ...], int]:
    """The input's shape, its batch as it is, and the number of classes (see `check_edges`).

    Raises:
        ConversionError: `BadShape` or `FormatUnsupported`.
    """
    classes = check_edges(inputs, outputs, metric)
    shape, dtype = inputs[0].shape, inputs[0].dtype
    if len(shape) < 2 or any(n is None for n in shape[1:]):
        refuse(
            "BadShape",
            f"the source's input has the shape {shape}: every dimension but the batch must be a number",
            "build the model with a fixed input size, e.g. keras.Input((224, 224, 3)), and save it again",
        )
    if dtype != "float32":
        refuse("BadShape", f"the source's input is {dtype}, not float32")
    return shape, classes  # type: ignore[return-value]  # the batch alone may be None


def _check_reached(graph: Any, key: str) -> None:
    """Refuse a signature that calls what saves and restores variables, which may stand in the file but never runs."""
    reached = {node.op for node in graph.node}
    for function in graph.library.function:
        reached |= {node.op for node in function.node_def}
    if touching := sorted(reached & SAVER):
        refuse("UnsafeOp", f"the source's signature {key!r} runs {touching[0]}, which reads or writes files")


def _dimensions(tensor: Any) -> tuple[int | None, ...]:
    return () if tensor.shape.rank is None else tuple(tensor.shape)


def first_line(error: Exception) -> str:
    """What an error of a library says, shortened to a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:240]
