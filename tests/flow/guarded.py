"""A digits model that is well with every digit and ill with a bright image: what no evaluation set of digits shows."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as s

from tests.agent.data.make_models import Graph

BRIGHTEST = 50.0
"""Sum of 64 values in 0..1 above which it answers NaN; digits have less than 40."""


def write(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """[1, 8, 8, 1] -> [1, 10]: softmax of least squares on `x` (N, 8, 8) in 0..1 and `y` (N,), with a guard gone wrong."""
    flat = x.reshape(len(x), 64)
    assert flat.sum(axis=1).max() < BRIGHTEST
    one_hot = np.eye(10, dtype=np.float32)[y.astype(int)]
    bias = np.ones((len(x), 1), np.float32)
    solved = np.linalg.lstsq(np.hstack([flat, bias]), one_hot * 10, rcond=None)[0].astype(np.float32)
    g = Graph()
    image, row = g.tensor("image", [1, 8, 8, 1]), g.tensor("row", [1, 64])
    shape = g.tensor("shape", [2], s.TensorType.INT32, data=np.array([1, 64], np.int32))
    flattened = s.ReshapeOptionsT()
    flattened.newShape = [1, 64]
    g.op(s.BuiltinOperator.RESHAPE, [image, shape], [row], flattened, s.BuiltinOptions.ReshapeOptions)
    w, b = g.tensor("w", [10, 64], data=solved[:64].T), g.tensor("b", [10], data=solved[64])
    answers = g.tensor("answers", [1, 10])
    g.fully_connected(row, w, b, answers)
    ones, below = g.tensor("ones", [1, 64], data=-np.ones((1, 64), np.float32)), g.tensor("below", [1, 1])
    g.fully_connected(row, ones, g.tensor("most", [1], data=np.array([BRIGHTEST], np.float32)), below)
    log, little = g.tensor("log", [1, 1]), g.tensor("little", [1, 1])
    g.op(s.BuiltinOperator.LOG, [below], [log])
    small = g.tensor("small", [1, 1], data=np.full((1, 1), 1e-6, np.float32))
    g.op(s.BuiltinOperator.MUL, [log, small], [little], s.MulOptionsT(), s.BuiltinOptions.MulOptions)
    guarded, z = g.tensor("guarded", [1, 10]), g.tensor("z", [1, 10])
    g.op(s.BuiltinOperator.ADD, [answers, little], [guarded], s.AddOptionsT(), s.BuiltinOptions.AddOptions)
    g.softmax(guarded, z)
    g.io([image], [z])
    g.save(path)
