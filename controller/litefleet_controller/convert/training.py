"""Train a small image classifier, so that the demo and the tests convert a model that has really learned something.

Random weights can't show what quantization breaks (their outputs are all but uniform), hence a real network on real
data. Started as a program, `python -m litefleet_controller.convert.training`, by the demo and by tests; never imported
by the control plane. Leaves out everything that a training framework does: this is the user's own work in production.

One JSON line an epoch goes to stdout: `{"model", "epoch", "epochs", "loss", "accuracy", "heldOut"}`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

_BATCH = 32
_LEARNING_RATE = 2e-3


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One model to train."""

    data: str
    """An .npz with `x` (N, H, W) and `y` (class numbers)."""
    out: str
    """Where the `.keras` file goes."""
    name: str = ""
    epochs: int = 12
    seed: int = 1
    init: str | None = None
    """A `.keras` file of the same network to go on from."""
    invert: bool = False
    """Train on negatives: `peak - x`, with the largest value of `x` as peak."""
    scale: float = 1 / 16
    """What the Model's pre-processing multiplies by; scikit-learn's digits are 0..16 and the network takes 0..1."""
    held_out: str | None = None
    """An .npz that accuracy is reported on, and nothing else."""


def build_network(shape: tuple[int, int, int], classes: int, seed: int) -> Any:
    """A MobileNet-like classifier: a convolution, then depthwise-separable blocks. About 44,000 parameters.

    float32 (1, H, W, C) in 0..1 to float32 (1, classes) probabilities: it ends in softmax.
    """
    import keras

    # Layer names count up in a process; from a clean slate the same job gives the same names.
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    layers = keras.layers

    def normalized(x: Any) -> Any:
        # A momentum of 0.99 takes thousands of steps to mean anything; this trains for hundreds.
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input(shape, name="image")
    x = normalized(layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs))
    for filters, stride in ((64, 1), (96, 2), (128, 1), (128, 1)):
        x = normalized(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        x = normalized(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="probabilities")(x), name="classifier")


def train(job: Job) -> None:
    """Train one model and write it."""
    import keras
    import numpy as np

    x, y = _load(job.data, job)
    held_out = _load(job.held_out, job) if job.held_out else None
    rng = np.random.default_rng(job.seed)
    model = build_network(x.shape[1:], int(y.max()) + 1, job.seed)
    if job.init:
        model.set_weights(keras.saving.load_model(job.init, compile=False, safe_mode=True).get_weights())
    steps = job.epochs * -(-len(x) // _BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    for epoch in range(1, job.epochs + 1):
        history = model.fit(_shifted(x, rng), y, batch_size=_BATCH, verbose=0).history
        line = {
            "model": job.name or Path(job.out).stem,
            "epoch": epoch,
            "epochs": job.epochs,
            "loss": round(history["loss"][0], 4),
            "accuracy": round(history["accuracy"][0], 4),
        }
        if held_out is not None and epoch == job.epochs:
            answers = model.predict(held_out[0], batch_size=256, verbose=0).argmax(axis=1)
            line["heldOut"] = round(float((answers == held_out[1]).mean()), 4)
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    trained = build_network(x.shape[1:], int(y.max()) + 1, job.seed)
    trained.set_weights(model.get_weights())
    trained.save(job.out)  # without the optimizer's state, which is twice the size of the model


def _load(path: str, job: Job) -> tuple[Any, Any]:
    """Images (N, H, W, 1) float32 as the network takes them, and their classes (N,) int64."""
    import numpy as np

    with np.load(path, allow_pickle=False) as data:
        x, y = data["x"].astype(np.float32), data["y"].astype(np.int64)
    if job.invert:
        x = x.max() - x
    return (x * np.float32(job.scale))[..., None], y


def _shifted(x: Any, rng: Any) -> Any:
    """Each image moved by up to one pixel in both directions, so that the network doesn't learn positions by heart."""
    import numpy as np

    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Three quarters of the images stay: at 8x8 a pixel is a lot.
    moves = np.where(rng.random((len(x), 1)) < 0.25, rng.integers(0, 3, (len(x), 2)), 1)
    return np.stack([p[i : i + height, j : j + width] for p, (i, j) in zip(padded, moves, strict=True)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m litefleet_controller.convert.training", description=__doc__)
    parser.add_argument("--jobs", type=Path, help="JSON list of jobs, trained one after the other in this process")
    parser.add_argument("--data", help="npz with x (N, H, W) and y")
    parser.add_argument("--out", help=".keras file to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--init", help=".keras file to go on from")
    parser.add_argument("--invert", action="store_true", help="train on negatives")
    parser.add_argument("--scale", type=float, default=1 / 16)
    parser.add_argument("--held-out", help="npz to report accuracy on")
    options = vars(parser.parse_args(arguments))
    jobs_file = options.pop("jobs")
    if jobs_file is None and not (options["data"] and options["out"]):
        parser.error("give --jobs, or --data and --out")
    try:
        jobs = msgspec.json.decode(jobs_file.read_bytes(), type=list[Job]) if jobs_file else [Job(**options)]
    except (OSError, msgspec.MsgspecError) as e:
        parser.error(f"--jobs {jobs_file}: {e}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        for job in jobs:
            train(job)
    except (OSError, KeyError, ValueError) as e:
        sys.stderr.write(f"error: {str(e).strip()}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
