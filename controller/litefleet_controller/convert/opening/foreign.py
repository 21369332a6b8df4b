"""A `.tflite` file as a source: looked at, fixed to a batch of 1, run for its own answers. Without tensorflow.

LiteRT loads files that crash it, or never answers. So this is done in a process of its own, which is used for nothing
else before or after (pool.py), and which is blamed on the file when it dies (process.py). What comes out is what
freezing a `.keras` file gives: FROZEN_FILE, which float recipes are made of, and ANSWERS_FILE. A file that is quantized
already comes out as it is; variant.py lets it pass for its own recipe only.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.edges import Edge, check_outputs, input_shape, names_of
from litefleet_controller.convert.opening.structure import read_model
from litefleet_controller.convert.proving.answers import write_answers
from litefleet_controller.convert.samples.datasets import load_evaluation, most_evaluated
from litefleet_controller.convert.tflite.detections import detections_of
from litefleet_controller.convert.tflite.fixing import fixed, load
from litefleet_controller.convert.tflite.flatbuffer import (
    parse,
    with_inlined_buffers,
    with_signature,
    with_unique_names,
)
from litefleet_controller.convert.tflite.precision import recipe_of, type_name
from litefleet_controller.convert.tflite.widening import is_narrow, widened
from litefleet_controller.convert.workers.tasks import CHECKING, FROZEN_FILE, Frozen, Inspect, RungError


def inspect(task: Inspect, stage: Callable[[str, int], None]) -> Frozen:
    """Write FROZEN_FILE, and ANSWERS_FILE with each output's `y0`.. (N, ...) float32: what the source itself says.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    stage("loading", 2)
    data, model = read_model(Path(task.source))
    given, made = _edges(model)
    shape = input_shape(given, task.input_shape)
    _check_input(given[0])
    if all(n is not None for n in given[0].shape[1:]):
        check_outputs(made, task.metric)
    if is_narrow(model):
        stage(CHECKING, 5)
        data = widened(data)
    recipe = recipe_of(parse(data))
    stage(CHECKING, 5)
    data = with_inlined_buffers(fixed(data, shape))
    load(data)
    names = names_of(made)
    classes = check_outputs(_shaped(made, parse(data)), task.metric)
    if recipe == "float32":
        data = with_signature(with_unique_names(data), "input", names)
    (folder / FROZEN_FILE).write_bytes(data)
    try:
        runner = LiteRTRunner(folder / FROZEN_FILE)
        most = most_evaluated([o.shape for o in runner.signature.outputs])
        evaluation = load_evaluation(task.evaluation, task.preprocess, shape, classes, most)
        run(runner, evaluation.x[:1])
        stage("evaluating", 20)
        answers = run(runner, evaluation.x, lambda share: stage("evaluating", 20 + int(30 * share)))
    except RungError as e:
        raise ConversionError(e.code, str(e).replace("the variant", "the source"), final=True) from e
    if classes and answers[0].ndim != 2:
        # What the file says of its output's shape is one thing, what its operators make of it another.
        refuse("BadShape", f"the source answers one sample with {answers[0].shape[1:]}, not with {classes} numbers")
    if (where := detections_of(parse(data))) is not None and not answers[where.count].any():
        refuse(
            "EvaluationInvalid",
            f"the source detects nothing in any of the {len(evaluation.x)} samples: there is nothing to compare",
            "put samples into the evaluation set that show what it detects, and see to input.preprocess",
        )
    write_answers(folder, answers)
    return Frozen(classes=classes, outputs=names, recipe=recipe)


def _edges(model: Any) -> tuple[list[Edge], list[Edge]]:
    """What goes in and what comes out, named as the signature has it where there is one."""
    graph = model.subgraphs[0]
    signature = next((s for s in model.signatureDefs or () if s.subgraphIndex == 0), None)
    maps = signature.outputs or () if signature else ()
    named = {int(m.tensorIndex): (m.name or b"").decode(errors="replace") for m in maps}
    given = [_edge(graph.tensors[int(i)], "") for i in graph.inputs]
    made = [_edge(graph.tensors[int(i)], named.get(int(i), "")) for i in graph.outputs]
    return given, made


def _edge(tensor: Any, name: str) -> Edge:
    shape = [int(n) for n in (tensor.shape if tensor.shape is not None else ())]
    signed = [int(n) for n in tensor.shapeSignature] if tensor.shapeSignature is not None else shape
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    return Edge(
        name=name or (tensor.name or b"").decode(errors="replace"),
        shape=tuple(None if n < 0 else n for n in signed),
        dtype=type_name(tensor),
        is_scaled=scales is not None and len(scales) == 1,
    )


def _shaped(made: list[Edge], model: Any) -> list[Edge]:
    """The outputs with the shapes that they have once the input's are fixed."""
    graph = model.subgraphs[0]
    tensors = (graph.tensors[int(i)] for i in graph.outputs)
    return [replace(edge, shape=_edge(tensor, "").shape) for edge, tensor in zip(made, tensors, strict=True)]


def _check_input(given: Edge) -> None:
    if given.dtype != "float32" and not given.is_scaled:
        refuse("BadShape", f"the source takes {given}: it must be float32 or quantized with a scale")
