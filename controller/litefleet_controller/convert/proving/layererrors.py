"""How far each layer's output of a quantized model is from the float model's: where its accuracy goes.

Both models run beside each other on a few calibration samples, with every intermediate tensor kept. Errors add up
along the way, as they do in the model; layers.py asks another question, which layer does how much damage alone. Runs
in workers; a model that can't be run this way has no such figures, and is none the worse for it.
"""

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from litefleet_controller.artifacts.examination import MAX_LAYERS, MAX_NAME, LayerError
from litefleet_controller.convert.engines.litert import dequantized, quantized
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.detections import OPERATOR as DETECTIONS
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse

SAMPLES = 8
"""More change the third digit."""


def layer_errors(frozen: bytes, variant: bytes, x: Floats) -> tuple[tuple[LayerError, ...], int]:
    """Errors in the order the layers run, and how many were left out; `x`: inputs, float32 (N, ...).

    Layers are matched by their outputs' names, which the quantizer keeps. Of more than MAX_LAYERS those with the
    largest errors are kept. Empty for a model that can't be run with its intermediate tensors kept.
    """
    try:
        measured = _measured(frozen, variant, x)
    except (ValueError, RuntimeError):
        return (), 0
    kept = set(sorted(range(len(measured)), key=lambda i: -measured[i].error)[:MAX_LAYERS])
    return tuple(m for i, m in enumerate(measured) if i in kept), len(measured) - len(kept)


def _measured(frozen: bytes, variant: bytes, x: Floats) -> list[LayerError]:
    model = parse(frozen)
    graph = model.subgraphs[0]
    named = [(operator_name(model, o), graph.tensors[int(o.outputs[0])].name.decode()) for o in _computing(model)]
    one, other = _keeping(frozen), _keeping(variant)
    there = {d["name"]: d for d in other.get_tensor_details()}
    here = {d["name"]: d for d in one.get_tensor_details()}
    compared = [(operator, name) for operator, name in named if name in here and name in there]
    error, power = np.zeros(len(compared)), np.zeros(len(compared))
    for sample in x:
        _run(one, sample)
        _run(other, sample)
        for i, (_, name) in enumerate(compared):
            wanted = one.get_tensor(here[name]["index"]).astype(np.float32)
            got = dequantized(other.get_tensor(there[name]["index"]), there[name])
            error[i] += float(np.square(got - wanted, dtype=np.float64).sum())
            power[i] += float(np.square(wanted, dtype=np.float64).sum())
    return [
        LayerError(
            name=name.split(";")[0][:MAX_NAME],
            operator=operator,
            dtype=np.dtype(there[name]["dtype"]).name,
            error=float(f"{np.sqrt(error[i] / power[i]):.6g}"),
        )
        for i, (operator, name) in enumerate(compared)
        if power[i] > 0 and np.isfinite(error[i])
    ]


def _computing(model: Any) -> list[Any]:
    """Operators whose outputs are what they compute: of a list of detections only some rows are."""
    return [o for o in model.subgraphs[0].operators if operator_name(model, o) != DETECTIONS]


def _keeping(model: bytes) -> Any:
    """An interpreter that keeps what lies between input and output; delegates would swallow it."""
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, sample: Floats) -> None:
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], quantized(sample[np.newaxis], details))
    interpreter.invoke()
