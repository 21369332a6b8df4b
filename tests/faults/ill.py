"""Models that are well with some inputs and ill with others: what golden samples can't show. float32 [1, 4] inside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as s

from tests.agent.data.make_models import BOOL, Graph

_INT = s.TensorType.INT32


def crashes(path: Path) -> None:
    """[1, 4] -> x modulo -1, in integers: nought, but for the smallest integer, at which the processor traps."""
    g = Graph()
    x, y = g.tensor("x", [1, 4]), g.tensor("y", [1, 4])
    whole, rest = g.tensor("whole", [1, 4], _INT), g.tensor("rest", [1, 4], _INT)
    by = g.tensor("by", [1, 4], _INT, data=np.full((1, 4), -1, np.int32))
    g.op(s.BuiltinOperator.CAST, [x], [whole])
    g.op(s.BuiltinOperator.FLOOR_MOD, [whole, by], [rest], s.FloorModOptionsT(), s.BuiltinOptions.FloorModOptions)
    g.op(s.BuiltinOperator.CAST, [rest], [y])
    g.io([x], [y])
    g.save(path)


def grows(path: Path) -> None:
    """[1, 4] -> [1, 4]: the input, by way of as many copies of it as its largest value says."""
    g = Graph()
    x = g.tensor("x", [1, 4])
    most = g.tensor("most", [1])
    count = g.tensor("count", [1], _INT)
    shape = g.tensor("shape", [2], _INT)
    copies = g.tensor("copies", [1, 4])
    y = g.tensor("y", [1, 4])
    axes = g.tensor("axes", [2], _INT, data=np.array([0, 1], np.int32))
    first = g.tensor("first", [1], _INT, data=np.array([0], np.int32))
    four = g.tensor("four", [1], _INT, data=np.array([4], np.int32))
    whole = g.tensor("whole", [1], _INT, data=np.array([1], np.int32))
    _reduce(g, x, axes, most_scalar := g.tensor("most_scalar", []), keep=False)
    g.op(s.BuiltinOperator.RESHAPE, [most_scalar, whole], [most], s.ReshapeOptionsT(), s.BuiltinOptions.ReshapeOptions)
    g.op(s.BuiltinOperator.CAST, [most], [count])
    joined = s.ConcatenationOptionsT()
    g.op(s.BuiltinOperator.CONCATENATION, [count, four], [shape], joined, s.BuiltinOptions.ConcatenationOptions)
    g.op(s.BuiltinOperator.BROADCAST_TO, [x, shape], [copies], version=2)
    _reduce(g, copies, first, y, keep=True)
    g.io([x], [y])
    g.save(path)


def loops(factor: float) -> Callable[[Path], None]:
    """[1, 4] -> x, multiplied by `factor` until an element is past 1e9: at once, slowly, or (1.0) never."""

    def write(path: Path) -> None:
        g = Graph()
        x, y = g.tensor("x", [1, 4]), g.tensor("y", [1, 4])
        options = s.WhileOptionsT()
        options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
        g.op(s.BuiltinOperator.WHILE, [x], [y], options, s.BuiltinOptions.WhileOptions)
        g.io([x], [y])
        g.graph()
        a, most, go_on = g.tensor("a", [1, 4]), g.tensor("most", []), g.tensor("c", [], BOOL)
        axes = g.tensor("axes", [2], _INT, data=np.array([0, 1], np.int32))
        limit = g.tensor("limit", [], data=np.array(1e9, np.float32))
        _reduce(g, a, axes, most, keep=False)
        g.op(s.BuiltinOperator.LESS, [most, limit], [go_on], s.LessOptionsT(), s.BuiltinOptions.LessOptions)
        g.io([a], [go_on])
        g.graph()
        a, r = g.tensor("a", [1, 4]), g.tensor("r", [1, 4])
        by = g.tensor("by", [1], data=np.array([factor], np.float32))
        g.op(s.BuiltinOperator.MUL, [a, by], [r], s.MulOptionsT(), s.BuiltinOptions.MulOptions)
        g.io([a], [r])
        g.save(path)

    return write


def _reduce(g: Graph, into: int, axes: int, out: int, *, keep: bool) -> None:
    options = s.ReducerOptionsT()
    options.keepDims = keep
    g.op(s.BuiltinOperator.REDUCE_MAX, [into, axes], [out], options, s.BuiltinOptions.ReducerOptions)
