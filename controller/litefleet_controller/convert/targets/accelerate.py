"""The task that follows a proven variant: what is foretold of it, and what a compiler makes. Runs in workers."""

from collections.abc import Callable
from pathlib import Path

from litefleet_controller.convert.targets.edgetpu_compile import compile_model
from litefleet_controller.convert.targets.edgetpu_report import report
from litefleet_controller.convert.targets.graph import read_graph
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.workers.tasks import Accelerate, Accelerated


def accelerate(task: Accelerate, stage: Callable[[str, int], None]) -> Accelerated:
    """The report, and COMPILED_FILE when there is a compiler.

    Raises: RungError, ConversionError.
    """
    model = Path(task.model).read_bytes()
    prediction = report(read_graph(parse(model)))
    if task.compiler is None:
        return Accelerated(prediction=prediction, compilation=None)
    stage("compiling", 98)
    return Accelerated(
        prediction=prediction, compilation=compile_model(task.compiler, model, Path(task.folder), task.seconds)
    )
