"""The other side of the comparison: the same trained model through TFLiteConverter, and both sides' files judged together.

    python -m tests.benchmarks.catalog.tflite_side MODEL CALIBRATION EVALUATION FOLDER OUT.json VARIANT=OURS.tflite ...

writes, for each variant, the size of TFLiteConverter's file in bytes and the share of all evaluation images that each side
answers as the model does; and, since both see the same images, how many of them only one side gets right. What a file
answers is asked of the same LiteRT by the same code.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from tests.benchmarks.tflite_converter import convert_each


def main(model: str, calibration: str, evaluation: str, folder: str, out: str, *variants: str) -> None:
    """The program."""
    named = dict(variant.split("=", 1) for variant in variants)
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    seconds = convert_each(Path(model), Path(calibration), 1.0, into, tuple(named))
    x = np.load(evaluation)["x"].astype(np.float32)
    expected = keras.saving.load_model(model, compile=False).predict(x, batch_size=256, verbose=0).argmax(axis=1)
    found = {}
    for name, taken in seconds.items():
        path = into / f"{name}.tflite"
        theirs, ours = (_top(each, x) == expected for each in (path, Path(named[name])))
        found[name] = {
            "size": path.stat().st_size,
            "agreement": float(theirs.mean()),
            "ours": float(ours.mean()),
            "only_theirs": int((theirs & ~ours).sum()),
            "only_ours": int((ours & ~theirs).sum()),
            "seconds": taken,
        }
    Path(out).write_text(json.dumps(found))


def _top(model: Path, x: NDArray[np.float32]) -> NDArray[np.int64]:
    (answers,) = run(LiteRTRunner(model), x)
    return answers.argmax(axis=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
