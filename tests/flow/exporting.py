"""Trains one network and writes it as a SavedModel and as a `.tflite` file, as people have them from TensorFlow.

Run as `python -m tests.flow.exporting FOLDER TRAINING.npz`, in one process: tensorflow takes seconds to import.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

from litefleet_controller.convert.training import main as train


def main(folder: Path, training: str) -> None:
    """Write `exported/` and `converted.tflite`."""
    import keras
    import tensorflow as tf

    train(["--data", training, "--out", str(folder / "trained.keras"), "--epochs", "8", "--scale", str(1 / 255)])
    model = keras.saving.load_model(folder / "trained.keras", compile=False)
    model.export(folder / "exported", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))
    (folder / "converted.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
