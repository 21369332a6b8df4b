"""Handwritten digits as data sets: MNIST for the whole measure, scikit-learn's small ones for a sample."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SCRIPT = Path(__file__).parents[3] / "scripts" / "get-mnist"
_HEADER = {"images": 16, "labels": 8}
"""Bytes before the first value (the IDX format, yann.lecun.org's description of MNIST)."""

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """`.npz` files with x (N, 28, 28, 1) uint8 and y (N,) int64."""

    training: Path
    calibration: Path
    """Of the training images."""
    evaluation: Path
    """Of the test images, which no training saw."""
    evaluated: int


def mnist(folder: Path, trained: int, calibrated: int, seed: int) -> Digits:
    """`trained` of the 60,000 training images, and all 10,000 test images."""
    source = Path(subprocess.run([_SCRIPT], capture_output=True, text=True, check=True).stdout.strip())
    order = np.random.default_rng(seed).permutation(60_000)[:trained]
    x, y = _read(source, "train")
    return _write(folder, (x[order], y[order]), calibrated, _read(source, "t10k"))


def small_digits(folder: Path, trained: int, calibrated: int) -> Digits:
    """`trained` of scikit-learn's 1,797 digits of 8 x 8, each pixel drawn 3 x 3 with a margin of 2, and 200 others."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = (found.images * 15.9375).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    x, y = np.pad(x, ((0, 0), (2, 2), (2, 2)))[..., np.newaxis], found.target.astype(np.int64)
    return _write(folder, (x[200 : 200 + trained], y[200 : 200 + trained]), calibrated, (x[:200], y[:200]))


def _read(source: Path, name: str) -> tuple[Pixels, Labels]:
    def values(kind: str, rank: int) -> Pixels:
        return np.fromfile(source / f"{name}-{kind}-idx{rank}-ubyte", np.uint8, offset=_HEADER[kind])

    return values("images", 3).reshape(-1, 28, 28, 1), values("labels", 1).astype(np.int64)


def _write(folder: Path, training: tuple[Pixels, Labels], calibrated: int, evaluation: tuple[Pixels, Labels]) -> Digits:
    made = Digits(folder / "training.npz", folder / "calibration.npz", folder / "evaluation.npz", len(evaluation[0]))
    np.savez(made.training, x=training[0], y=training[1])
    np.savez(made.calibration, x=training[0][:calibrated])
    np.savez(made.evaluation, x=evaluation[0], y=evaluation[1])
    return made
