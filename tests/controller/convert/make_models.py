"""Makes the models and data sets that the converter's tests use, in one process: tensorflow takes seconds to import.

Run as `python -m tests.controller.convert.make_models FOLDER`. Real digits, a really trained network, and the sources that must be refused.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from litefleet_controller.convert.making.pruning.channels import flat, without_channels
from litefleet_controller.convert.making.pruning.topology import topology
from litefleet_controller.convert.training import main as train
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.fleet.packing import pack_saved_model
from litefleet_controller.resources.recipe import recipes
from tests.controller.convert.detecting import write_detector


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


def write_uneven(folder: Path, name: str, largest: float) -> None:
    """The digits' network, with channels that differ by some orders of magnitude between two layers.

    ReLU lets a factor through: what a channel is multiplied by before it, it is divided by after it, and the answers stay
    the same. One range for all channels then leaves nothing of most of them in int8.
    """
    model = keras.saving.load_model(folder / "digits.keras", compile=False)
    layers = [layer for layer in model.layers if layer.get_weights()]
    at = [i for i, layer in enumerate(layers) if isinstance(layer, keras.layers.DepthwiseConv2D)][1]
    normalization, depthwise = layers[at - 1], layers[at]
    gamma, beta, *moving = normalization.get_weights()
    factors = np.geomspace(1e-2, largest, len(gamma)).astype(np.float32)
    normalization.set_weights([gamma * factors, beta * factors, *moving])
    depthwise.set_weights([depthwise.get_weights()[0] / factors[:, None]])
    model.save(folder / name)


class Exported(tf.Module):
    """A SavedModel by hand: what it computes, and what more it does."""

    def __init__(self, act=lambda x: x, shape=(None, 8, 8, 1), dtype=tf.float32) -> None:
        super().__init__()
        self.weights = tf.Variable(np.random.default_rng(3).normal(size=(64, 10)).astype(np.float32))
        self.act = act
        self.spec = tf.TensorSpec(shape, dtype, name="image")
        self.answer = tf.function(self._answer, input_signature=[self.spec])

    def _answer(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        # As Keras flattens: with the batch as a number that the graph computes.
        flat = tf.reshape(tf.cast(self.act(image), tf.float32), (tf.shape(image)[0], 64))
        return {"probabilities": tf.nn.softmax(flat @ self.weights)}


def export(folder: Path, name: str, module: tf.Module, **signatures: object) -> None:
    """SavedModels by TensorFlow itself, packed as `litefleet model push` packs them."""
    where = folder / "saved" / name
    tf.saved_model.save(module, where, signatures=signatures or None)
    with (folder / f"{name}.zip").open("wb") as file:
        pack_saved_model(where, file)


def saving(image: tf.Tensor) -> tf.Tensor:
    """The image, and a checkpoint of it on the disk."""
    save = tf.raw_ops.SaveV2(prefix="stolen", tensor_names=["x"], shape_and_slices=[""], tensors=[image])
    with tf.control_dependencies([save]):
        return tf.identity(image)


def write_saved_models(folder: Path) -> None:
    def served(name: str, module: Exported) -> None:
        export(folder, name, module, serving_default=module.answer)

    served("read-file", Exported(lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), x.dtype)))
    served("save-itself", Exported(saving))
    served("py-function", Exported(lambda x: tf.ensure_shape(tf.numpy_function(lambda v: v, [x], x.dtype), x.shape)))
    served("eight-at-once", Exported(shape=(8, 8, 8, 1)))
    served("bytes-in", Exported(dtype=tf.uint8))
    served("any-size", Exported(shape=(None, None, None, 1)))
    served("flex", Exported(lambda x: tf.image.resize(x, (8, 8), method="bicubic")))
    table = Exported()
    table.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [1]), 0)
    served("table", table)
    one = Exported()
    export(folder, "one-signature", one, classify=one.answer)
    export(folder, "two-signatures", one, classify=one.answer, score=one.answer)
    export(folder, "no-signature", tf.Module())


def write_with_several_outputs(folder: Path) -> None:
    """The trained digits' network with its features beside its answers, and two outputs of one shape."""
    model = keras.saving.load_model(folder / "digits.keras", compile=False)
    features = next(y for y in (layer.output for layer in model.layers[::-1]) if y.shape == (None, 128))
    maps = next(y for y in (layer.output for layer in model.layers[::-1]) if len(y.shape) == 4)
    keras.Model(model.inputs, {"probabilities": model.output, "features": features, "maps": maps}).save(
        folder / "several.keras"
    )
    ink = keras.ops.cast(keras.ops.sum(model.inputs[0], axis=(1, 2, 3)) * 16, "int32")
    keras.Model(model.inputs, [ink, model.output]).save(folder / "ink.keras")
    twins = Exported()
    twins.answer = tf.function(
        lambda image: {"second": twins._answer(image)["probabilities"], "first": tf.reduce_sum(image, [1, 3])},
        input_signature=[twins.spec],
    )
    export(folder, "several", twins, serving_default=twins.answer)


def write_exports(folder: Path) -> None:
    """What people have of a trained model: a SavedModel, and `.tflite` files that TensorFlow's own converter made."""
    where = folder / "saved" / "digits"
    keras.saving.load_model(folder / "digits.keras", compile=False).export(where, verbose=False)
    with (folder / "digits.zip").open("wb") as file:
        pack_saved_model(where, file)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(where))
    (folder / "digits.tflite").write_bytes(converter.convert())
    with np.load(folder / "calibration.npz") as data:
        samples = (data["x"] / 16)[..., None].astype(np.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    (folder / "digits-int8.tflite").write_bytes(converter.convert())
    flattening = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "saved" / "one-signature"), signature_keys=["classify"]
    )
    (folder / "flattening.tflite").write_bytes(flattening.convert())
    flex = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved" / "flex"))
    flex.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (folder / "flex.tflite").write_bytes(flex.convert())


def write_for_accelerators(folder: Path) -> None:
    """A real architecture, and a network with an operator in the middle that the Edge TPU doesn't have; untrained."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    mobile = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)
    middle = [layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(8, 3), layers.LeakyReLU(), layers.Conv2D(8, 3)]
    for name, model in (("mobilenet-v2", mobile), ("leaky", classifier(*middle))):
        call = tf.function(lambda x, model=model: model(x, training=False))
        concrete = call.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(concrete)])
        (folder / f"{name}.tflite").write_bytes(converter.convert())


def write_thinned(folder: Path) -> None:
    """Models of which half of each layer's filters are zero, before and after filters were taken out of them."""
    layers = keras.layers
    keras.utils.set_random_seed(6)
    plain = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(32, "relu")]
    base = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=False)
    image = keras.Input((32, 32, 3))
    squeezed = layers.Conv2D(16, 1, activation="relu")(image)
    fire = layers.Concatenate()(
        [layers.Conv2D(n, k, padding="same", activation="relu")(squeezed) for n, k in ((16, 1), (32, 3))]
    )
    added = layers.Add()([layers.Conv2D(16, 3, padding="same", activation="relu")(image) for _ in range(2)])
    models = {
        "plain": keras.Sequential([keras.Input((32, 32, 3)), *plain, layers.Dense(10)]),
        "inverted-residuals": keras.Sequential([keras.Input((32, 32, 3)), base, layers.GlobalAveragePooling2D(), layers.Dense(10)]),
        "fire": keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(fire))),
        "residual": keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(added))),
    }  # fmt: skip
    (folder / "thinned.json").write_text(json.dumps({name: thinned(model) for name, model in models.items()}))


def thinned(model: keras.Model) -> dict[str, object]:
    how = recipes()["channel-pruned-int8"].pruning
    whole = flat(model)
    for name, count in topology(whole.get_config()).makers.items():
        kernel, *bias = whole.get_layer(name).get_weights()
        idle = np.random.default_rng(len(name)).permutation(count)[: count // 2]
        kernel[..., idle] = 0
        whole.get_layer(name).set_weights([kernel, *bias])
    x = np.random.default_rng(1).random((4, 32, 32, 3), dtype=np.float32)
    try:
        smaller, _ = without_channels(model, how)
    except RungError as e:
        return {"code": e.code, "message": str(e)}
    before, after = np.asarray(model(x)), np.asarray(smaller(x))
    return {
        "weights": model.count_params(),
        "left": smaller.count_params(),
        "answers": float(np.abs(before).max()),
        "difference": float(np.abs(before - after).max()),
    }


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_data(target)
    write_resized(target)
    write_sources(target)
    train(["--data", str(target / "training.npz"), "--out", str(target / "digits.keras"), "--epochs", "5",
           "--held-out", str(target / "evaluation.npz")])  # fmt: skip
    write_uneven(target, "uneven.keras", 1e2)
    write_uneven(target, "more-uneven.keras", 1e3)
    write_with_several_outputs(target)
    write_saved_models(target)
    write_exports(target)
    write_for_accelerators(target)
    write_thinned(target)
    write_detector(target)
