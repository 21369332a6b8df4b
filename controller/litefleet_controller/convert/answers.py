"""The source's own answers on the evaluation set: what every variant is compared with, whatever the source is.

Runs in workers; imports numpy.
"""

from pathlib import Path

import numpy as np

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.preprocess import Floats
from litefleet_controller.convert.tasks import ANSWERS_FILE


def write_answers(folder: Path, answers: Floats) -> None:
    """Keep `answers` (N, classes) as `y0` of ANSWERS_FILE, float32.

    Raises:
        ConversionError: `BadOutput`.
    """
    bad = int(np.sum(~np.isfinite(answers).all(axis=1)))
    if bad:
        raise ConversionError(
            "BadOutput", f"the source itself answers NaN or infinity for {bad} of {len(answers)} samples", final=True
        )
    np.savez(folder / ANSWERS_FILE, y0=answers.astype(np.float32))
