"""The other side of the comparison: the same trained model through TFLiteConverter, judged on the same images.

    python -m tests.benchmarks.catalog.tflite_side MODEL CALIBRATION EVALUATION FOLDER OUT.json VARIANT ...

writes, for each variant, its size in bytes and the share of the evaluation images that it answers as the model does. What
each file answers is asked of the same LiteRT, by the same code, as on our side.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from tests.benchmarks.tflite_converter import convert_each


def main(model: str, calibration: str, evaluation: str, folder: str, out: str, *variants: str) -> None:
    """The program."""
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    seconds = convert_each(Path(model), Path(calibration), 1.0, into, variants)
    x = np.load(evaluation)["x"].astype(np.float32)
    expected = keras.saving.load_model(model, compile=False).predict(x, batch_size=256, verbose=0).argmax(axis=1)
    found = {}
    for name, taken in seconds.items():
        path = into / f"{name}.tflite"
        (answers,) = run(LiteRTRunner(path), x)
        agreement = float((answers.argmax(axis=1) == expected).mean())
        found[name] = {"size": path.stat().st_size, "agreement": agreement, "seconds": taken}
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
