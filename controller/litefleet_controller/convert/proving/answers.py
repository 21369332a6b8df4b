"""The source's own answers on the evaluation set: what every variant is compared with, whatever the source is.

Runs in workers; imports numpy.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import ANSWERS_FILE


def write_answers(folder: Path, answers: Sequence[Floats]) -> None:
    """Keep each output's `answers` (N, ...) as `y0`, `y1` .. of ANSWERS_FILE, float32.

    Raises:
        ConversionError: `BadOutput`.
    """
    if bad := unanswered(answers):
        raise ConversionError(
            "BadOutput", f"the source itself answers NaN or infinity for {bad} of {len(answers[0])} samples", final=True
        )
    arrays = {f"y{n}": y.astype(np.float32, copy=False) for n, y in enumerate(answers)}
    np.savez(folder / ANSWERS_FILE, **arrays)  # type: ignore[arg-type]  # numpy's stub has allow_pickle among them


def read_answers(path: str) -> list[Floats]:
    """What `write_answers` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return [data[f"y{n}"] for n in range(len(data))]


def unanswered(outputs: Sequence[Floats]) -> int:
    """Samples for which any of the outputs (N, ...) holds NaN or infinity."""
    fine = [np.isfinite(y).reshape(len(y), -1).all(axis=1) for y in outputs]
    return int(np.sum(~np.all(fine, axis=0)))
