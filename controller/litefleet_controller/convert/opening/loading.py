"""Opening a source with TensorFlow: a `.keras` file or a SavedModel becomes a function, and what goes in and out.

What must not be opened at all was refused before (containment.py, savedmodel.py). tensorflow and keras are imported
inside the functions: the import takes seconds, and a refused source must not pay them. Runs in workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import ConversionError, Metric
from litefleet_controller.convert.opening.containment import check_keras_file
from litefleet_controller.convert.opening.edges import Edge, check_outputs, input_shape
from litefleet_controller.convert.opening.graphops import SAVER
from litefleet_controller.convert.opening.savedmodel import check_graph, unpack

_PREDICT_BATCH = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Model says of its edges."""

    metric: Metric = "accuracy"
    input_shape: tuple[int, ...] | None = None
    """Without the batch, for what the source leaves open."""


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


def open_keras(source: Path, folder: Path, asked: Asked) -> Opened:
    """The `.keras` file at `source`.

    Raises:
        ConversionError: final; see `load_keras` and `opened`.
    """
    return opened(load_keras(source, folder), asked)


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


def opened(model: Any, asked: Asked) -> Opened:
    """A keras.Model as what converts and answers.

    Raises:
        ConversionError: final; `FormatUnsupported` or `BadShape`.
    """
    import keras

    outputs = [Edge(n, tuple(t.shape), t.dtype) for n, t in zip(_output_names(model), model.outputs, strict=True)]
    inputs = [Edge(t.name, tuple(t.shape), t.dtype) for t in model.inputs]
    return _opened(lambda x: keras.tree.flatten(model(x, training=False)), inputs, outputs, asked)


def _opened(call: Callable[[Any], Any], inputs: Sequence[Edge], outputs: Sequence[Edge], asked: Asked) -> Opened:
    """What can be served, or a refusal.

    Raises:
        ConversionError: `BadShape` or `FormatUnsupported`.
    """
    shape = input_shape(inputs, asked.input_shape)
    (given,) = inputs
    if given.dtype != "float32":
        refuse("BadShape", f"the source's input is {given.dtype}, not float32")
    if any(n is None for n in given.shape[1:]):
        outputs = _settled(call, shape, outputs)
    classes = check_outputs(outputs, asked.metric)
    return Opened(call, shape, tuple(outputs), classes, _batch(given.shape[0], outputs))


def _settled(call: Callable[[Any], Any], shape: tuple[int, ...], outputs: Sequence[Edge]) -> list[Edge]:
    """The outputs with the shapes that they have for an input of `shape`."""
    import tensorflow as tf

    traced = tf.function(call, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return [replace(edge, shape=_dimensions(t)) for edge, t in zip(outputs, traced.outputs, strict=True)]


def _output_names(model: Any) -> list[str]:
    """The keys of a dict of outputs, in the order that Keras flattens it; else what the layers are called."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict) and len(structure) == len(model.outputs):
        return sorted(structure)
    return [t._keras_history.operation.name for t in model.outputs]  # a Sequential has no output_names


def _batch(given: int | None, outputs: Sequence[Edge]) -> int:
    """Samples at a time: what comes out must be theirs one by one."""
    return _PREDICT_BATCH if given is None and all(o.shape and o.shape[0] is None for o in outputs) else 1


def open_saved_model(source: Path, folder: Path, signature: str | None, asked: Asked) -> Opened:
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
    if inputs and inputs[0].shape and inputs[0].shape[0] not in (None, 1):
        refuse(
            "BadShape",
            f"the source's signature {key!r} takes {inputs[0].shape[0]} samples at a time, and boards infer one at a "
            "time",
            "export it with a batch of None or 1",
        )
    input_shape(inputs, asked.input_shape)
    (input_name,) = given

    def call(x: Any) -> Any:
        # `loaded` owns the variables, and the function holds them weakly.
        answers = loaded.signatures[key](**{input_name: tf.convert_to_tensor(x)})
        return [answers[output.name] for output in outputs]

    return _opened(call, inputs, outputs, asked)


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
