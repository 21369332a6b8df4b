"""The demo's data: scikit-learn's copy of the UCI handwritten digits, 1,797 grey images of 8x8 pixels by 43 people.

Split once, by a fixed permutation: what the boards see (`live`) was in nobody's training, calibration or evaluation.
Pixels are 0..255 everywhere, as a camera gives them; the Model's pre-processing scales by 1/255.
"""

from dataclasses import dataclass
from pathlib import Path

SCALE = 1 / 255
TRAINING, EVALUATION = 900, 400
"""Images; the rest, 497, is live."""


@dataclass(frozen=True, slots=True)
class DataSets:
    """Files, all `.npz` with x (N, 8, 8) uint8 or float32 and y (N,) int64, and the folder of live images (PNG)."""

    training: Path
    training_inverted: Path
    evaluation: Path
    evaluation_inverted: Path
    calibration: Path
    calibration_inverted: Path
    calibration_scaled_twice: Path
    """Somebody divided by 255 before the pre-processing does it again: the commonest mistake with calibration data."""
    live: Path


def write_data_sets(directory: Path) -> DataSets:
    """Write all sets under `directory`."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(7).permutation(len(pixels))
    x, y = pixels[order], digits.target[order].astype(np.int64)
    train, evaluate = slice(0, TRAINING), slice(TRAINING, TRAINING + EVALUATION)
    directory.mkdir(parents=True, exist_ok=True)

    def save(name: str, images: "np.ndarray", labels: "np.ndarray") -> Path:
        path = directory / f"{name}.npz"
        np.savez(path, x=images, y=labels)
        return path

    live = directory / "live"
    live.mkdir(exist_ok=True)
    for i in range(TRAINING + EVALUATION, len(x)):
        Image.fromarray(x[i], mode=None).save(live / f"{i:04d}-{y[i]}.png")
    calibration = slice(0, 200)
    return DataSets(
        training=save("training", x[train], y[train]),
        training_inverted=save("training-inverted", 255 - x[train], y[train]),
        evaluation=save("evaluation", x[evaluate], y[evaluate]),
        evaluation_inverted=save("evaluation-inverted", 255 - x[evaluate], y[evaluate]),
        calibration=save("calibration", x[calibration], y[calibration]),
        calibration_inverted=save("calibration-inverted", 255 - x[calibration], y[calibration]),
        calibration_scaled_twice=save(
            "calibration-scaled-twice", (x[calibration] * np.float32(SCALE)).astype(np.float32), y[calibration]
        ),
        live=live,
    )
