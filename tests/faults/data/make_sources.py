"""Makes the small good sources here, of which the mutants of malformed_sources.py are made: `python make_sources.py`.

Committed, so that a mutant can be made again without TensorFlow. Untrained: nobody asks whether they are right.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np

from litefleet_controller.fleet.packing import pack_saved_model

HERE = Path(__file__).parent


def main() -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6),
            layers.DepthwiseConv2D(3),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(HERE / "small.keras")
    with tempfile.TemporaryDirectory() as folder:
        model.export(Path(folder) / "saved", verbose=False)
        with (HERE / "small.zip").open("wb") as file:
            pack_saved_model(Path(folder) / "saved", file)
    x = np.random.default_rng(1).uniform(0, 1, (12, 8, 8, 1)).astype(np.float32)
    np.savez(HERE / "small.npz", x=x, y=np.arange(12) % 3)


if __name__ == "__main__":
    sys.exit(main())
