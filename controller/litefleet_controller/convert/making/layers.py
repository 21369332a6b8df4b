"""Which layers int8 spoils, and which of them to spare. Runs in workers, on a frozen model and its ranges.

The measure is one layer at a time: it alone is quantized, with what goes in and out of it, and the answers to some
samples are compared with the float model's. Comparing a layer's own output with the float one would be cheaper and
misleads: a range that is spent on one channel is a small error to the tensor and the end of all other channels, and
what an unimportant channel loses matters to nobody. Both sides of a range that is too wide do the same damage, so both
are spared, which is what it takes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from litefleet_controller.convert.making.quantize import FAILURES, only, quantized_by, rules
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.detections import headless
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse
from litefleet_controller.convert.tflite.precision import has_data
from litefleet_controller.resources.recipe import Recipe

_MAX_SCOPE = 10_000
"""Where the quantizer cuts a scope."""
_MAX_NAME = 60
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator of the main graph."""

    scope: str
    """The names of what it gives, each with a semicolon behind: what the quantizer's rules match."""
    operator: str
    weights: int
    """Numbers in its constants."""

    @property
    def name(self) -> str:
        """For people: the first of the names, which TensorFlow joins when it fuses operators."""
        return self.scope.split(";")[0][:_MAX_NAME]


def layers(model: Any) -> list[Layer]:
    """In the order they run; `model` is a schema.ModelT."""
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        scope = "".join(f"{graph.tensors[int(i)].name.decode()};" for i in operator.outputs if i >= 0)
        constants = (graph.tensors[int(i)] for i in operator.inputs if i >= 0)
        weights = sum(int(np.prod(t.shape, dtype=np.int64)) for t in constants if has_data(model, t))
        found.append(Layer(scope[:_MAX_SCOPE], operator_name(model, operator), weights))
    return found


def damages(
    frozen: bytes, how: Recipe, ranges: Mapping[str, Any], x: Floats, tick: Callable[[float], None]
) -> list[tuple[Layer, float]]:
    """Layers that the recipe quantizes, each with its damage, the worst first.

    Damage is the mean square of what the answers to `x`, float32 (N, ...), change by when this layer alone is
    quantized, over the mean square of the answers themselves; of several outputs, the most damaged one's. `tick` gets
    the share done.
    """
    every = layers(parse(frozen))
    answers = _answers(headless(frozen), x)
    measured = []
    for number, layer in enumerate(every):
        tick(number / len(every))
        try:
            alone = quantized_by(rules(how, only(layer.scope)), frozen, dict(ranges))
        except FAILURES:
            continue  # what can't be quantized alone isn't in the way
        if alone != frozen:
            measured.append((layer, _damage(alone, x, answers)))
    return sorted(measured, key=lambda m: -m[1])


def _damage(model: bytes, x: Floats, answers: list[Floats]) -> float:
    """Infinite for a file that can't be run."""
    try:
        found = _answers(headless(model), x)
    except (ValueError, RuntimeError):
        return math.inf
    worst = max(_mean_square(f - a) / max(_mean_square(a), _TINY) for f, a in zip(found, answers, strict=True))
    return worst if math.isfinite(worst) else math.inf


def _mean_square(values: Floats) -> float:
    return float(np.square(values).mean(dtype=np.float64))


def growing(ranked: Sequence[tuple[Layer, float]], total: int, max_share: float) -> Iterator[list[tuple[Layer, float]]]:
    """None, the worst one, 2, 4, 8 ... of `ranked`, as long as no more than `max_share` of `total` weights are in them.

    A layer that would be too much is left out, and smaller ones behind it are taken. Pure.
    """
    fitting, weights = [], 0
    for entry in ranked:
        if weights + entry[0].weights <= max_share * total:
            fitting.append(entry)
            weights += entry[0].weights
    count, yielded = 0, -1
    while (taken := min(count, len(fitting))) > yielded:
        yield fitting[:taken]
        count, yielded = count * 2 or 1, taken


def _answers(model: bytes, x: Floats) -> list[Floats]:
    """Each output (N, ...)."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    made = [details["index"] for details in interpreter.get_output_details()]
    answers: list[list[Floats]] = [[] for _ in made]
    for sample in x:
        interpreter.set_tensor(given, sample[np.newaxis])
        interpreter.invoke()
        for collected, index in zip(answers, made, strict=True):
            collected.append(interpreter.get_tensor(index).astype(np.float32))
    return [np.stack(a) for a in answers]
