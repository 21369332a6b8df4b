"""Makes the models and data sets that the converter's tests use, in one process: tensorflow takes seconds to import.

Run as `python make_models.py FOLDER`. Real digits, a really trained network, and the sources that must be refused.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from litefleet_controller.convert.training import main as train


def write_data(folder: Path) -> None:
    digits = load_digits()
    order = np.random.default_rng(7).permutation(len(digits.images))
    x, y = digits.images[order].astype(np.float32), digits.target[order]
    np.savez(folder / "training.npz", x=x[:1200], y=y[:1200])
    np.savez(folder / "evaluation.npz", x=x[1200:], y=y[1200:])
    np.savez(folder / "calibration.npz", x=x[:100])
    np.savez(folder / "calibration-wrong-scale.npz", x=x[:100] * 255)


def write_resized(folder: Path) -> None:
    """What tensorflow says that bilinear resizing is."""
    images = np.random.default_rng(1).random((3, 9, 7, 3), dtype=np.float32)
    sizes = [(18, 14), (4, 3), (9, 20), (5, 7)]
    np.savez(
        folder / "resized.npz",
        images=images,
        **{f"{h}x{w}": tf.image.resize(images, (h, w), method="bilinear", antialias=False).numpy() for h, w in sizes},
    )


@keras.saving.register_keras_serializable(package="Shop")
class Special(keras.layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x


def classifier(*middle: keras.layers.Layer, shape: tuple[int | None, ...] = (8, 8, 1)) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(shape), *middle, layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    )


def write_sources(folder: Path) -> None:
    layers = keras.layers
    keras.utils.set_random_seed(1)
    classifier(layers.Lambda(lambda x: x * 2)).save(folder / "lambda.keras")
    classifier(Special()).save(folder / "custom.keras")
    classifier(layers.Conv2D(4, 3), shape=(None, None, 1)).save(folder / "any-size.keras")
    classifier(layers.UpSampling2D(2, interpolation="bicubic")).save(folder / "flex.keras")
    broken = classifier(layers.Conv2D(4, 3))
    broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
    broken.save(folder / "nan.keras")
    one, two = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    both = layers.Dense(10)(layers.Flatten()(layers.Add()([one, two])))
    keras.Model([one, two], both).save(folder / "two-inputs.keras")
    # Its first weights have more than 256 KiB as int8, which the quantizer stores outside the FlatBuffer.
    wide = [layers.Flatten(), layers.Dense(4500, activation="relu"), layers.Dense(10, activation="softmax")]
    keras.Sequential([keras.Input((8, 8, 1)), *wide]).save(folder / "wide.keras")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_data(target)
    write_resized(target)
    write_sources(target)
    train(["--data", str(target / "training.npz"), "--out", str(target / "digits.keras"), "--epochs", "5",
           "--held-out", str(target / "evaluation.npz")])  # fmt: skip
