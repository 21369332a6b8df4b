"""The good models that faults are made from or put beside: what they are, inputs for them, and how they are signed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefleet_agent.runtime.litert import LiteRT
from litefleet_protocol.tensors import Postprocess, Signature
from tests.agent.artifacts import DATA, Key, Made, golden_for, make, sha
from tests.agent.data.make_models import Graph, convolutions

GOLDEN_SAMPLES = 4
"""As many as the controller sends along."""
_LIVE = 48


@dataclass(frozen=True)
class Good:
    """A good model with its golden samples, and inputs that aren't among them."""

    name: str
    model: bytes
    signature: Signature
    golden: bytes
    live: np.ndarray

    def signed(self, key: Key, version: str, model: bytes | None = None) -> Made:
        """An artifact of this model, or of `model` with this one's golden samples and signature."""
        labels = tuple(map(str, range(self.signature.outputs[0].shape[-1])))
        data = self.model if model is None else model
        return make(
            key, data, self.golden, version=version, signature=self.signature, postprocess=Postprocess(labels=labels)
        )


def good(name: str, path: Path, inputs: np.ndarray) -> Good:
    """The model at `path`; the first of `inputs` (samples, ...) become its golden samples."""
    loaded = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
    shape = loaded.signature.inputs[0].shape
    x = inputs.reshape(-1, *shape[1:]).astype(np.float32)
    golden = golden_for(path, x=x[:GOLDEN_SAMPLES])
    live = x[GOLDEN_SAMPLES : GOLDEN_SAMPLES + _LIVE]
    return Good(name, path.read_bytes(), loaded.signature, golden, live)


def digits(folder: Path, seed: int) -> Good:
    """A small network trained on scikit-learn's handwritten digits: 8 x 8 pixels, 32 hidden units, 10 classes."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    x = (data.data / 16).astype(np.float32)
    trained = MLPClassifier((32,), max_iter=300, random_state=seed).fit(x[:1400], data.target[:1400])
    assert trained.score(x[1400:], data.target[1400:]) > 0.85
    g = Graph()
    before = first = g.tensor("x", [1, 64])
    for n, (weights, bias) in enumerate(zip(trained.coefs_, trained.intercepts_, strict=True)):
        w = g.tensor(f"w{n}", weights.T.shape, data=np.ascontiguousarray(weights.T, np.float32))
        b = g.tensor(f"b{n}", bias.shape, data=bias.astype(np.float32))
        after = g.tensor(f"y{n}", [1, len(bias)])
        g.fully_connected(before, w, b, after)
        if n == 0:
            relu = schema.ActivationFunctionType.RELU
            g.sub.operators[-1].builtinOptions.fusedActivationFunction = relu
        before = after
    z = g.tensor("z", [1, 10])
    g.softmax(before, z)
    g.io([first], [z])
    path = folder / "digits.tflite"
    g.save(path)
    return good("digits", path, x[1400:])


def images(folder: Path, seed: int) -> Good:
    """Three convolutions of random weights, of about a millisecond."""
    path = folder / "convolutions.tflite"
    convolutions(path)
    return good("convolutions", path, np.random.default_rng(seed).random((_LIVE + GOLDEN_SAMPLES, 28 * 28)))


def int8(_folder: Path, seed: int) -> Good:
    """A dense layer and softmax, int8 inside and outside."""
    inputs = np.random.default_rng(seed).random((_LIVE + GOLDEN_SAMPLES, 4)) * 2
    return good("int8", DATA / "int8.tflite", inputs)


GOOD: tuple[Callable[[Path, int], Good], ...] = (digits, int8, images)
