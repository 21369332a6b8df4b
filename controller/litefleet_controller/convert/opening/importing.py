"""The task of a worker: an old `.h5` file as a `.keras` file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.containment import check_keras_file
from litefleet_controller.convert.opening.hdf5 import check_h5_file
from litefleet_controller.convert.opening.keras2 import modernized
from litefleet_controller.convert.opening.loading import first_line
from litefleet_controller.convert.workers.owntasks import MODEL_FILE, Imported, ImportH5


def import_h5(task: ImportH5, stage: Callable[[str, int], None]) -> Imported:
    """Write MODEL_FILE, which answers as the `.h5` file does.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    stage("checking", 0)
    found = check_h5_file(Path(task.source))
    stage("loading TensorFlow", 5)
    import keras

    # Keras decides by the name's ending what a file is.
    named = folder / "source.h5"
    shutil.copyfile(task.source, named)
    _modernize(named)
    keras.backend.clear_session()
    stage("reading", 60)
    try:
        model: Any = keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as e:
        raise ConversionError(
            "FormatUnsupported",
            f"Keras {keras.__version__} can't load the file: {_cause(e)}",
            final=True,
            hint="where it was trained, replace what Keras 3 doesn't have, or export a SavedModel and push that",
        ) from e
    stage("writing", 80)
    path = folder / MODEL_FILE
    model.save(path)
    check_keras_file(path)
    stage("comparing", 90)
    _check_same(model, keras.saving.load_model(path, compile=False, safe_mode=True))
    return Imported(
        keras_version=str(found["keras_version"] or "")[:40],
        parameters=model.count_params(),
        inputs=tuple(_shape(t) for t in model.inputs),
        outputs=tuple(_shape(t) for t in model.outputs),
        lost=_lost(found),
    )


def _modernize(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as content:
        architecture = json.loads(content.attrs["model_config"])
        content.attrs["model_config"] = json.dumps(modernized(architecture))


def _cause(error: Exception) -> str:
    """What Keras says in the end: before it, it repeats the layer's whole configuration."""
    said = str(error).rpartition("Exception encountered:")[2].strip()
    return first_line(ValueError(said)) if said else first_line(error)


def _check_same(old: Any, new: Any) -> None:
    """Whether both answer alike to some inputs; open dimensions are taken as 32."""
    import keras

    rng = np.random.default_rng(0)
    given = [rng.random([2, *(n or 32 for n in t.shape[1:])]).astype(t.dtype) for t in old.inputs]
    first, second = (keras.tree.flatten(model(given if len(given) > 1 else given[0])) for model in (old, new))
    for one, other in zip(first, second, strict=True):
        if not np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True):
            refuse("FormatMismatch", "the .keras file that was written answers otherwise than the .h5 file")


def _shape(tensor: Any) -> str:
    return f"{tensor.dtype} ({', '.join('?' if n is None else str(n) for n in tensor.shape[1:])})"


def _lost(found: dict[str, Any]) -> tuple[str, ...]:
    lost = []
    if found["optimizer_weights"]:
        lost.append("the optimizer's state: training goes on as from the first step")
    if found["training_config"]:
        lost.append("how it was compiled: loss, optimizer and metrics")
    return tuple(lost)
