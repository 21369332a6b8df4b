"""An SSD detector as people have them: trained by TensorFlow, and ended by its `TFLite_Detection_PostProcess`.

It finds bright squares and discs, 7 to 12 pixels wide, in grey pictures of 32x32: one anchor in each of 8x8 cells. It
is exported as TensorFlow's Object Detection API exports its own: the SavedModel has a function in place of the
operator, which the converter puts in. Run by make_models.py.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from litefleet_controller.fleet.packing import pack_saved_model

SIZE, CELLS, CLASSES = 32, 8, ("square", "disc")
MAX_DETECTIONS, SCORE_THRESHOLD = 4, 0.3
_ANCHOR = 10 / SIZE
_SCALES = (10.0, 10.0, 5.0, 5.0)
"""Of y, x, height and width: what the API's box coder multiplies offsets by."""
_ATTRIBUTES = {
    "max_detections": f"i: {MAX_DETECTIONS}",
    "max_classes_per_detection": "i: 1",
    "use_regular_nms": "b: false",
    "nms_score_threshold": f"f: {SCORE_THRESHOLD}",
    "nms_iou_threshold": "f: 0.5",
    "num_classes": f"i: {len(CLASSES)}",
    **{f"{side}_scale": f"f: {scale}" for side, scale in zip("yxhw", _SCALES, strict=True)},
}


def pictures(seed: int, count: int) -> tuple[NDArray[np.float32], list[list[tuple[int, NDArray[np.float32]]]]]:
    """(N, 32, 32, 1) of 0 to 1, and for each its things: class and box (top, left, bottom, right), 0 to 1."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 0.3, (count, SIZE, SIZE, 1)).astype(np.float32)
    things: list[list[tuple[int, NDArray[np.float32]]]] = [[] for _ in range(count)]
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for n in range(count):
        halves = (0, SIZE // 2) if rng.random() < 0.5 else (rng.integers(0, 2) * SIZE // 2,)
        for left in halves:
            kind, side = int(rng.integers(len(CLASSES))), rng.uniform(7, 12)
            top, start = rng.uniform(0, SIZE - side), left + rng.uniform(0, SIZE // 2 - side)
            away = np.abs(rows - top - side / 2), np.abs(columns - start - side / 2)
            inside = np.maximum(*away) < side / 2 if kind == 0 else np.hypot(*away) < side / 2
            x[n, inside, 0] = rng.uniform(0.6, 1.0)
            box = np.array([top, start, top + side, start + side], np.float32) / SIZE
            things[n].append((kind, box))
    return x, things


def _anchors() -> NDArray[np.float32]:
    """(64, 4): centre y, centre x, height, width."""
    centres = (np.mgrid[:CELLS, :CELLS].reshape(2, -1).T + 0.5) / CELLS
    return np.hstack([centres, np.full_like(centres, _ANCHOR)]).astype(np.float32)


def _targets(things: list[list[tuple[int, NDArray[np.float32]]]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (N, 64, 3), the background's first, and encoded boxes (N, 64, 4); a thing is its nearest cells'."""
    anchors = _anchors()
    scores = np.zeros((len(things), len(anchors), 1 + len(CLASSES)), np.float32)
    boxes = np.zeros((len(things), len(anchors), 4), np.float32)
    for n, those in enumerate(things):
        for kind, (top, left, bottom, right) in those:
            centre, extent = np.array([(top + bottom) / 2, (left + right) / 2]), np.array([bottom - top, right - left])
            near = np.abs(anchors[:, :2] - centre).max(axis=1) < 0.75 / CELLS
            scores[n, near, 1 + kind] = 1
            offsets = np.hstack(
                [(centre - anchors[near, :2]) / _ANCHOR, np.log(np.tile(extent, (near.sum(), 1)) / _ANCHOR)]
            )
            boxes[n, near] = offsets * _SCALES
    scores[..., 0] = 1 - scores[..., 1:].max(axis=-1)
    return scores, boxes


def write_detector(folder: Path) -> None:
    """detector.zip, .tflite and -int8.tflite (by TensorFlow, bytes in), detector-evaluation.npz and -calibration.npz."""
    tf.keras.utils.set_random_seed(3)
    x, things = pictures(1, 4000)
    heads = _fitted(x, *_targets(things))
    saved = str(folder / "saved" / "detector")
    tf.saved_model.save(_exported(heads), saved)
    with (folder / "detector.zip").open("wb") as file:
        pack_saved_model(Path(saved), file)
    (folder / "detector.tflite").write_bytes(_converted(saved))
    (folder / "detector-int8.tflite").write_bytes(_converted(saved, x[:100]))
    np.savez(folder / "detector-evaluation.npz", x=pictures(2, 60)[0])
    np.savez(folder / "detector-calibration.npz", x=pictures(3, 60)[0])


def _fitted(x: NDArray[np.float32], scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> Any:
    layers = tf.keras.layers
    given = layers.Input((SIZE, SIZE, 1), batch_size=None)
    y = given
    for width, stride in ((16, 2), (24, 2), (32, 1), (32, 1)):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(y))
    found = layers.Reshape((-1, 1 + len(CLASSES)), name="scores")(
        layers.Conv2D(1 + len(CLASSES), 1, activation="sigmoid")(y)
    )
    placed = layers.Reshape((-1, 4), name="boxes")(layers.Conv2D(4, 1)(y))
    model = tf.keras.Model(given, {"boxes": placed, "scores": found})
    # Boxes count where something is; a box that is off by its scale counts as much as a wrong score.
    weighted = np.concatenate([boxes, scores[..., 1:].max(axis=-1, keepdims=True)], axis=-1)

    def box_loss(wanted: Any, got: Any) -> Any:
        return tf.reduce_mean(wanted[..., 4:] * tf.square(got - wanted[..., :4]))

    model.compile(tf.keras.optimizers.Adam(3e-3), {"scores": "binary_crossentropy", "boxes": box_loss})
    model.fit(x, {"scores": scores, "boxes": weighted}, batch_size=64, epochs=8, verbose=0)
    return model


def _exported(heads: Any) -> Any:
    attributes = " ".join(f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in _ATTRIBUTES.items())

    @tf.function(experimental_implements=f'name: "TFLite_Detection_PostProcess" {attributes}')
    def postprocess(boxes: Any, scores: Any, anchors: Any) -> Any:
        shapes = ((1, MAX_DETECTIONS, 4), (1, MAX_DETECTIONS), (1, MAX_DETECTIONS), (1,))
        return tuple(tf.constant(0.0, tf.float32, shape) for shape in shapes)

    image = tf.TensorSpec((1, SIZE, SIZE, 1), tf.float32, name="image")
    call = tf.function(lambda x: heads(x, training=False)).get_concrete_function(image)
    constant = convert_variables_to_constants_v2(call)

    class Detector(tf.Module):
        @tf.function(input_signature=[image])
        def __call__(self, image: Any) -> Any:
            boxes, scores = constant(image)
            return postprocess(boxes, scores, tf.constant(_anchors()))

    return Detector()


def _converted(saved: str, calibration: NDArray[np.float32] | None = None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    converter.allow_custom_ops = True
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    return bytes(converter.convert())


if __name__ == "__main__":
    write_detector(Path(sys.argv[1]))
