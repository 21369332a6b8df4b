"""What people do by script today: `TFLiteConverter` once for each variant. The other side of `converting`.

    python -m tests.benchmarks.tflite_converter JOB.json

makes the job's model when there is none yet, converts it four times, and writes seconds and sizes as JSON. The first model
warms the process up and is not counted, as the worker on the other side is warm, too; importing tensorflow is timed apart.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def mobilenet(path: Path) -> None:
    """MobileNetV2 1.0 at 224 x 224 with 1,000 classes; random weights from a seed: what it answers plays no part here."""
    import keras

    keras.utils.set_random_seed(1)
    keras.applications.MobileNetV2(input_shape=(224, 224, 3), weights=None).save(path)


VARIANTS = ("float32", "float16", "dynamic-int8", "int8")


def convert_each(
    model: Path, calibration: Path, scale: float, folder: Path, variants: Sequence[str] = VARIANTS
) -> dict[str, float]:
    """Seconds by variant: each loads the model and writes a file, as a script for one variant does."""
    import keras
    import tensorflow as tf

    def samples() -> Iterator[list[Any]]:
        for x in np.load(calibration)["x"]:
            image = (x.astype(np.float32) * np.float32(scale)).reshape(1, *x.shape[:2], -1)
            yield [image]

    taken = {}
    for name in variants:
        began = time.perf_counter()
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.saving.load_model(model, compile=False))
        if name != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if name == "int8":
            converter.representative_dataset = samples
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())
        taken[name] = time.perf_counter() - began
    return taken


def main() -> None:
    """The program."""
    job = json.loads(Path(sys.argv[1]).read_text())
    began = time.perf_counter()
    import tensorflow as tf  # noqa: F401 - timed

    imported = time.perf_counter() - began
    if job["make"] and not Path(job["model"]).exists():
        mobilenet(Path(job["model"]))
    folder = Path(job["folder"])
    convert_each(Path(job["warm_up"]), Path(job["warm_up_calibration"]), job["warm_up_scale"], folder)
    seconds = convert_each(Path(job["model"]), Path(job["calibration"]), job["scale"], folder)
    sizes = {name: (folder / f"{name}.tflite").stat().st_size for name in seconds}
    Path(job["out"]).write_text(json.dumps({"import": imported, "seconds": seconds, "bytes": sizes}))


if __name__ == "__main__":
    main()
