"""Reading calibration and evaluation sets: `.npz` files that somebody uploaded, hence checked before they are used.

Runs in workers; imports numpy. A calibration set that is no good costs the rung that needs it (RungError); an
evaluation set that is no good costs the request, since nothing can be proven without one (ConversionError).
"""

import math
import tokenize
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.archive import DAMAGED
from litefleet_controller.convert.interface import MAX_EVALUATED, ConversionError
from litefleet_controller.convert.samples.preprocess import Floats, ShapeError, prepare
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_protocol.tensors import Preprocess

_MAX_ANSWER_BYTES = 128 * 1024**2
"""What a source answers to an evaluation set, and again what a variant does."""

_MAX_BYTES = 2 * 1024**3
"""Uncompressed content of a data set."""

_ENOUGH_RATIO = 1_000
"""Uncompressed to compressed size. Real images reach about 100 (white ones), a zip bomb is past 1,000."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Inputs (N, ...) float32 as the model takes them, and their classes (N,) where classes are compared."""

    x: Floats
    y: NDArray[np.int64] | None


class Training:
    """Raw inputs and their classes; a batch is prepared when it is needed, since floats take four times the room."""

    def __init__(
        self, x: NDArray[np.generic], y: NDArray[np.int64], prepare: Callable[[NDArray[np.generic]], Floats]
    ) -> None:
        self._x = x
        self._prepare = prepare
        self.y = y

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, chosen: Sequence[int] | NDArray[np.intp]) -> Floats:
        """Those inputs as the model takes them, (N, ...) float32.

        Raises:
            RungError: `TrainingInvalid`, for NaN and infinity among them.
        """
        try:
            return self._prepare(self._x[np.asarray(chosen)])
        except _InvalidError as e:
            raise _invalid_training(e) from e

    def raw(self, chosen: Sequence[int] | NDArray[np.intp]) -> NDArray[np.generic]:
        """Those inputs as the data set holds them."""
        return np.asarray(self._x[np.asarray(chosen)])


class _InvalidError(ValueError):
    """Why a data set is no good, one sentence."""


def load_calibration(path: str, samples: int, spec: Preprocess, input_shape: Sequence[int]) -> Floats:
    """The first `samples` inputs, pre-processed, float32 (N, ...).

    Raises:
        RungError: `CalibrationInvalid`.
    """
    try:
        return _inputs(_load(path, "x")[:samples], spec, input_shape)
    except _InvalidError as e:
        raise RungError("CalibrationInvalid", f"the calibration set can't be used: {e}") from e


def load_training(path: str, samples: int, spec: Preprocess, input_shape: Sequence[int], classes: int) -> Training:
    """The first `samples` inputs with their classes.

    Raises:
        RungError: `TrainingInvalid`.
    """
    try:
        x = _load(path, "x")
        numbers = _numbers(path, x, classes)[:samples]
        training = Training(x[:samples], numbers, lambda chosen: _inputs(chosen, spec, input_shape))
    except _InvalidError as e:
        raise _invalid_training(e) from e
    training.batch([0])  # whose shape is everybody's
    return training


def _invalid_training(error: _InvalidError) -> RungError:
    return RungError("TrainingInvalid", f"the training set (spec.training) can't be used: {error}")


def most_evaluated(outputs: Sequence[Sequence[int]]) -> int:
    """How many samples are used of a model with outputs of these shapes: their answers must fit into memory, twice."""
    each = sum(4 * math.prod(shape) for shape in outputs)
    return max(1, min(MAX_EVALUATED, _MAX_ANSWER_BYTES // max(each, 1)))


def load_evaluation(
    path: str, spec: Preprocess, input_shape: Sequence[int], classes: int, most: int = MAX_EVALUATED
) -> Evaluation:
    """The first `most` samples. `classes`: how many a classifier tells apart; 0 where `y` isn't asked for.

    Raises:
        ConversionError: `EvaluationInvalid`.
    """
    try:
        x = _load(path, "x")
        numbers = _numbers(path, x, classes)[:most] if classes else None
        return Evaluation(_inputs(x[:most], spec, input_shape), numbers)
    except _InvalidError as e:
        raise ConversionError(
            "EvaluationInvalid",
            f"the evaluation set can't be used: {e}",
            final=True,
            hint="upload an .npz with x (inputs before pre-processing)"
            + (" and y (class numbers), or a folder of images" if classes else ""),
        ) from e


def _numbers(path: str, x: NDArray[np.generic], classes: int) -> NDArray[np.int64]:
    y = _load(path, "y")
    if y.ndim != 1 or len(y) != len(x):
        raise _InvalidError(f"y must be one class number a sample: x has the shape {x.shape}, y has {y.shape}")
    _check_folders(path, classes)
    return _class_numbers(y, classes)


def _class_numbers(y: NDArray[np.generic], classes: int) -> NDArray[np.int64]:
    if not (np.issubdtype(y.dtype, np.number) and np.isrealobj(y)) or not _are_whole(y):
        raise _InvalidError(f"y must hold class numbers, and it holds {y.dtype}")
    numbers = y.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= classes:
        raise _InvalidError(
            f"y holds classes {numbers.min()} to {numbers.max()}, and the model knows 0 to {classes - 1}"
        )
    return numbers


def _are_whole(y: NDArray[np.generic]) -> bool:
    with np.errstate(invalid="ignore"):  # NaN and infinity aren't
        return bool(np.all(np.mod(y, 1) == 0))


def _check_folders(path: str, classes: int) -> None:
    """Refuse class folders that were numbered by their order (decode.py), where one more or less shifts all."""
    with np.load(path, allow_pickle=False) as data:
        is_by_order = "folders" in data
    if is_by_order and (folders := int(_load(path, "folders").flat[0])) != classes:
        raise _InvalidError(
            f"it has {folders} class folders, and the model tells {classes} classes apart: "
            "name the folders as spec.output.labels names the classes"
        )


def _inputs(x: NDArray[np.generic], spec: Preprocess, input_shape: Sequence[int]) -> Floats:
    try:
        # What comes of infinity is looked for below.
        with np.errstate(invalid="ignore", over="ignore"):
            inputs = prepare(x, spec, input_shape)
    except ShapeError as e:
        raise _InvalidError(str(e)) from e
    bad = int(np.sum(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)))
    if bad:
        raise _InvalidError(f"{bad} of {len(inputs)} samples hold NaN or infinity")
    return inputs


def _load(path: str, key: str) -> NDArray[np.generic]:
    """One array of an .npz, not empty, of numbers. Pickles are never read."""
    if Path(path).stat().st_size == 0:
        raise _InvalidError("the file is empty (0 bytes)")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive.infolist())
        with np.load(path, allow_pickle=False) as data:
            if key not in data:
                raise _InvalidError(f"it has no array {key!r}; it has {', '.join(sorted(data)[:8]) or 'none'}")
            array = np.asarray(data[key])
    except _InvalidError:
        raise
    except (*DAMAGED, OSError, KeyError, TypeError, MemoryError, SyntaxError, tokenize.TokenError) as e:
        raise _InvalidError(f"it isn't an .npz file with plain arrays ({str(e)[:120]})") from e
    if array.dtype.kind not in "buif":
        raise _InvalidError(f"{key} must hold numbers, and it holds {array.dtype}")
    if array.ndim == 0 or array.size == 0:
        raise _InvalidError(f"{key} is empty: its shape is {array.shape}")
    return array


def _check_sizes(members: Sequence[zipfile.ZipInfo]) -> None:
    content = sum(m.file_size for m in members)
    packed = sum(m.compress_size for m in members)
    if content > _MAX_BYTES:
        raise _InvalidError(f"its content has {content} bytes; the limit is {_MAX_BYTES}")
    if content > _ENOUGH_RATIO * max(packed, 1):
        raise _InvalidError(f"it is a zip bomb: {packed} bytes unpack to {content}")
