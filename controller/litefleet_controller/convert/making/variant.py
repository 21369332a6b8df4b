"""One rung in a worker: make the engine's files, run them, compare with the source, keep golden samples.

The numbers are returned whether they are good or bad; limits are applied to them in the controller (gate.py), so that
classes with different limits share one computation. But for recipes that work towards the limits: see sparing.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from litefleet_controller.artifacts.examination import Examination, encode
from litefleet_controller.convert.engines.interface import form
from litefleet_controller.convert.interface import RecipeName
from litefleet_controller.convert.judging.runtimes import litert
from litefleet_controller.convert.proving.answers import read_answers
from litefleet_controller.convert.proving.comparing import Yardstick, yardstick
from litefleet_controller.convert.proving.detecting import SameThings, golden_detections
from litefleet_controller.convert.proving.examining import Layers, examined
from litefleet_controller.convert.proving.trial import Trial, Tried
from litefleet_controller.convert.samples.datasets import load_calibration, load_evaluation
from litefleet_controller.convert.samples.golden import golden_file, tolerances
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.detections import detections_of
from litefleet_controller.convert.tflite.flatbuffer import (
    arena_bytes,
    input_shape,
    operators,
    parse,
    serialize,
    with_inlined_buffers,
)
from litefleet_controller.convert.tflite.opversions import needed_versions, raise_versions, traits
from litefleet_controller.convert.tflite.precision import described, recipe_of
from litefleet_controller.convert.workers.tasks import EXAMINATION_FILE, FROZEN_FILE, Quantize, RungError, Variant
from litefleet_protocol.runtimes import GOLDEN_FILE, MODEL_FILES
from litefleet_protocol.tensors import Signature


def make_variant(task: Quantize, stage: Callable[[str, int], None]) -> Variant:
    """Write the engine's MODEL_FILES and GOLDEN_FILE; the numbers.

    Raises: RungError, ConversionError.
    """
    folder = Path(task.folder)
    frozen = _Frozen.read(Path(task.frozen))
    source = read_answers(task.answers)
    names = task.outputs or tuple(f"output {n}" for n in range(len(source)))
    classes_ = source[0].shape[1] if task.measure.metric == "accuracy" else 0
    evaluation = load_evaluation(task.evaluation, task.preprocess, frozen.input_shape, classes_, len(source[0]))
    where = detections_of(frozen.model) if task.measure.metric == "closeness" else None
    measure: Yardstick
    if where is None:
        measure = yardstick(task.measure, source, names, evaluation)
    else:
        measure = SameThings(source, names, task.measure.tolerance, where)
    trial = Trial(folder, evaluation.x, source, measure, stage)
    made = (_litert if task.how.engine == "litert" else _other)(task, frozen, trial, stage)
    tried = made.tried
    allowed = tolerances(task.how.tolerance, task.measure.metric, tried.outputs, tried.runner.signature.outputs)
    if where is None:
        golden, samples = golden_file(evaluation.x, tried.outputs)
    else:
        golden, samples, allowed = golden_detections(evaluation.x, tried.outputs, where, allowed)
    (folder / GOLDEN_FILE).write_bytes(golden)
    (folder / EXAMINATION_FILE).write_bytes(encode(_examined(task, frozen, names, source, tried)))
    return Variant(
        signature=_named(tried.runner.signature, task.outputs),
        operators=made.operators,
        operator_versions=made.operator_versions,
        traits=made.traits,
        arena_bytes=made.arena_bytes,
        golden_samples=samples,
        golden_tolerance=max(allowed),
        golden_tolerances=allowed if len(set(allowed)) > 1 else (),
        agreement=tried.score.agreement,
        accuracy=tried.score.accuracy,
        source_accuracy=trial.source_accuracy,
        closeness=tried.score.closeness,
        evaluated=len(evaluation.x),
        classes=classes_,
        hint=tried.hint,
        notes=made.notes,
        compressed=_compressed(task),
    )


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What variants are made of; taken apart once."""

    data: bytes
    model: Any
    """schema.ModelT."""

    @classmethod
    def read(cls, path: Path) -> "_Frozen":
        data = path.read_bytes()
        return cls(data, parse(data))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return input_shape(self.model)


def _compressed(task: Quantize) -> tuple[int, int] | None:
    if task.unpruned is None:
        return None
    from litefleet_controller.convert.making.pruning.compression import compressed_bytes

    made = [Path(task.folder) / name for name in MODEL_FILES[task.how.engine]]
    return compressed_bytes(made), compressed_bytes(map(Path, task.unpruned))


@dataclass(frozen=True, slots=True)
class _Made:
    """Files that were written and run, and what can be read from them."""

    tried: Tried
    operators: dict[str, int]
    operator_versions: dict[str, int]
    traits: tuple[str, ...] = ()
    arena_bytes: int | None = None
    notes: tuple[str, ...] = ()


def _examined(
    task: Quantize, frozen: "_Frozen", names: Sequence[str], source: Sequence[Floats], tried: Tried
) -> Examination:
    """Layers are compared where activations were quantized from the float model, on what they were calibrated with."""
    layers = Layers()
    if task.calibration is not None and task.ranges is not None and tried.model:
        from litefleet_controller.convert.proving.layererrors import SAMPLES, layer_errors

        samples = min(task.calibration_samples, SAMPLES)
        x = load_calibration(task.calibration, samples, task.preprocess, frozen.input_shape)
        layers = Layers(*layer_errors(frozen.data, tried.model, x), samples=len(x))
    return examined(task.measure.metric, names, source, tried.outputs, tried.score.agreement, layers)


def _litert(task: Quantize, frozen: "_Frozen", trial: Trial, stage: Callable[[str, int], None]) -> _Made:
    stage("quantizing", 50)
    tried, parsed, notes = _quantized(task, frozen, trial, stage)
    # What was tried last needn't be what was best.
    (Path(task.folder) / MODEL_FILES[task.how.engine][0]).write_bytes(tried.model)
    return _Made(tried, operators(parsed), needed_versions(parsed), traits(parsed), arena_bytes(parsed), notes)


def _quantized(
    task: Quantize, frozen: "_Frozen", trial: Trial, stage: Callable[[str, int], None]
) -> tuple[Tried, Any, tuple[str, ...]]:
    """What the recipe comes to, its file as schema.ModelT, and what was decided on the way."""
    from litefleet_controller.convert.making.quantize import quantize
    from litefleet_controller.convert.making.ranges import read_ranges
    from litefleet_controller.convert.making.sparing import spare

    if _is_ready(frozen.model, task.recipe):
        return trial(frozen.data), frozen.model, ()
    ranges = read_ranges(task.ranges) if task.ranges is not None else None
    if task.how.spared is None or task.goal is None or task.calibration is None or ranges is None:
        made = quantize(frozen.data, task.recipe, task.how, ranges)
        model = parse(made)  # once: that is a good part of what a further variant costs
        _check_changed(frozen, model, task)
        return trial(serialize(model) if raise_versions(model) else made), model, ()
    samples = min(task.calibration_samples, task.how.spared.samples)
    x = load_calibration(task.calibration, samples, task.preprocess, frozen.input_shape)
    tried, note = spare(task, task.how.spared, task.goal, ranges, x, trial, stage)
    return tried, parse(tried.model), (note,)


def _check_changed(frozen: "_Frozen", made: Any, task: Quantize) -> None:
    """A float32 file must not go out by another name, when the quantizer passed over everything.

    Raises:
        RungError: `QuantizationFailed`.
    """
    if task.how.weights.dtype != "float32" and _types(made) == _types(frozen.model):
        raise RungError("QuantizationFailed", f"the model has nothing that {task.recipe} could store smaller")


def _types(model: Any) -> list[int]:
    return [int(tensor.type) for graph in model.subgraphs for tensor in graph.tensors]


def _other(task: Quantize, frozen: "_Frozen", trial: Trial, stage: Callable[[str, int], None]) -> _Made:
    """Another engine's form of the frozen file."""
    _is_ready(frozen.model, task.recipe)
    if custom := sorted(litert().custom & operators(frozen.model).keys()):
        raise RungError(
            "UnsupportedOp",
            f"{task.recipe} can't be made of a model with {', '.join(custom)}, which LiteRT alone has: end the model "
            "before it, or give the class recipes for litert",
        )
    stage("converting", 50)
    folder = Path(task.folder)
    source = folder / FROZEN_FILE  # blobs have no suffix, by which OpenVINO knows formats
    source.write_bytes(with_inlined_buffers(frozen.data))
    made_by = form(task.how.engine)
    found = made_by.write(source, task.how, folder)
    return _Made(trial.of(lambda: made_by.load(folder / MODEL_FILES[task.how.engine][0])), found, {})


def _named(signature: Signature, names: Sequence[str]) -> Signature:
    """With the source's names for the outputs: each engine has its own way of naming them anew."""
    if not names:
        return signature
    outputs = (structs.replace(o, name=n) for o, n in zip(signature.outputs, names, strict=True))
    return structs.replace(signature, outputs=tuple(outputs))


def _is_ready(model: Any, recipe: RecipeName) -> bool:
    """Whether the source, a quantized `.tflite` file, is what the recipe would make: then it goes out as it is.

    Raises:
        RungError: `AlreadyQuantized`, when it is what another recipe makes.
    """
    made_by = recipe_of(model)
    if made_by not in ("float32", recipe):
        raise RungError("AlreadyQuantized", described(model))
    return made_by == recipe != "float32"
