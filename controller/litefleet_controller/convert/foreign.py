"""A `.tflite` file as a source: looked at, fixed to a batch of 1, run for its own answers. Without tensorflow.

LiteRT loads files that crash it, or never answers. So this is done in a process of its own, which is used for nothing
else before or after (pool.py), and which is blamed on the file when it dies (process.py). What comes out is what
freezing a `.keras` file gives: FROZEN_FILE, which float recipes are made of, and ANSWERS_FILE. A file that is quantized
already comes out as it is; variant.py lets it pass for its own recipe only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from litefleet_controller.convert.answers import write_answers
from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.datasets import load_evaluation
from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.fixing import fixed, load
from litefleet_controller.convert.flatbuffer import with_inlined_buffers, with_signature
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.precision import recipe_of, type_name
from litefleet_controller.convert.structure import read_model
from litefleet_controller.convert.tasks import CHECKING, FROZEN_FILE, Frozen, Inspect, RungError


def inspect(task: Inspect, stage: Callable[[str, int], None]) -> Frozen:
    """Write FROZEN_FILE, and ANSWERS_FILE with `y0` (N, classes) float32: what the source itself says.

    Raises: ConversionError.
    """
    folder = Path(task.folder)
    stage("loading", 2)
    data, model = read_model(Path(task.source))
    classes = _check_edges(model)
    recipe = recipe_of(model)
    stage(CHECKING, 5)
    load(data)
    data = with_inlined_buffers(fixed(data))
    if recipe == "float32":
        data = with_signature(data, "input", ("output",))
    (folder / FROZEN_FILE).write_bytes(data)
    try:
        runner = LiteRTRunner(folder / FROZEN_FILE)
        shape = tuple(runner.signature.inputs[0].shape)
        evaluation = load_evaluation(task.evaluation, task.preprocess, shape, classes)
        run(runner, evaluation.x[:1])
        stage("evaluating", 20)
        (answers,) = run(runner, evaluation.x, lambda share: stage("evaluating", 20 + int(30 * share)))
    except RungError as e:
        raise ConversionError(e.code, str(e).replace("the variant", "the source"), final=True) from e
    write_answers(folder, answers)
    return Frozen(classes=classes, recipe=recipe)


def _check_edges(model: Any) -> int:
    """How many classes the model tells apart.

    Raises:
        ConversionError: `FormatUnsupported` or `BadShape`.
    """
    graph = model.subgraphs[0]
    given, made = ([graph.tensors[i] for i in edge] for edge in (graph.inputs, graph.outputs))
    if len(given) != 1 or len(made) != 1 or made[0].shape is None or len(made[0].shape) != 2:
        shapes = [[int(n) for n in (t.shape if t.shape is not None else ())] for t in made]
        refuse(
            "FormatUnsupported",
            f"the source has {len(given)} inputs and outputs {shapes}; "
            "this version serves classifiers with one input and one output (batch, classes)",
        )
    for tensor in (*given, *made):
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        if type_name(tensor) != "float32" and (scales is None or len(scales) != 1):
            kind = type_name(tensor)
            refuse("BadShape", f"the source takes or gives {kind} without a scale: it must be float32 or quantized")
    return int(made[0].shape[1])
