"""Whether an `_edgetpu.tflite` that was compiled elsewhere can be of its source: all that is known without a TPU.

Read, not run. What is looked at: that libedgetpu would take it, that it takes and gives what the source does, and that
its quantization can hold the source's inputs and say the source's answers. What it does answer the first board finds
out, with golden samples that have the source's answers. Runs in workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.structure import MISREAD, read_compiled
from litefleet_controller.convert.proving.answers import read_answers
from litefleet_controller.convert.proving.detecting import certain, golden_detections
from litefleet_controller.convert.samples.datasets import load_evaluation
from litefleet_controller.convert.samples.golden import golden_file, tolerances
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.targets.edgetpu_file import CUSTOM_OPERATOR, Edge, edges, operators
from litefleet_controller.convert.targets.edgetpu_program import NEWEST_RUNTIME, Program, ProgramError, programs
from litefleet_controller.convert.targets.prebuilt import Findings
from litefleet_controller.convert.tflite.detections import Detections, detections_of
from litefleet_controller.convert.tflite.flatbuffer import arena_bytes, input_shape, parse
from litefleet_controller.convert.tflite.opversions import needed_versions, traits
from litefleet_controller.convert.tflite.precision import type_name
from litefleet_controller.convert.workers.tasks import CheckedPrebuilt, CheckPrebuilt, RungError
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec

_NAMED = "the file of spec.prebuilt.edgetpu"
_COMPILE = "name the NAME_edgetpu.tflite that edgetpu_compiler wrote, not the file that it was given"
_SAME_MODEL = "compile the model that spec.source names, or name the source that this file was compiled from"
_INSTEAD = "; without spec.prebuilt.edgetpu these boards get what is made of the source here"
_SAMPLES, _LEAST_SAMPLES = 16, 4
_GOLDEN_BYTES = 2 * 1024 * 1024
"""More golden samples than others have, for they alone say whether the file answers as the source does; but no more
bytes than these for a board to fetch, unless the least number has more."""
_COMPARED = 200
"""Evaluation samples that the twin's distance from the source is measured on."""
_MAX_CLIPPED = 0.1
"""Share of the input's numbers that may lie outside of what the file takes: calibration cuts off some outliers, and a
wrong scale nearly all."""
_MIN_LEVELS = 16
"""Of 256, that the inputs must reach over: scaled too small they all become the same few numbers."""


def check_prebuilt(task: CheckPrebuilt, stage: Callable[[str, int], None]) -> CheckedPrebuilt:
    """Write GOLDEN_FILE with the source's answers; what the file says of itself.

    Raises:
        ConversionError: final; `NotCompiled`, `ProgramInvalid`, `SignatureChanged`, `QuantizationMismatch` or
            `TooLarge`, beside what a damaged `.tflite` file is refused for.
    """
    stage("checking the compiled file", 90)
    model = _read(Path(task.prebuilt))
    found = _programs(model)
    frozen = parse(Path(task.frozen).read_bytes())
    source = read_answers(task.answers)
    signature = _signature(edges(frozen)[0], source, model, task.outputs)
    x = load_evaluation(task.evaluation, task.preprocess, input_shape(frozen), task.classes, len(source[0])).x
    _check_input(signature.inputs[0], x)
    where = detections_of(frozen) if task.metric == "closeness" else None
    allowed, expectation = _allowed(task, x, source, signature.outputs, where, stage)
    samples, allowed = _golden(task, x, source, where, allowed)
    if where is None:  # lists of detections are float32
        _check_outputs(signature.outputs, [y[:samples] for y in source], allowed)
    needed, arena = _processors(model)
    return CheckedPrebuilt(
        findings=_findings(model, found, Path(task.prebuilt).stat().st_size, expectation),
        signature=signature,
        operators=operators(model),
        operator_versions=needed,
        traits=traits(model),
        arena_bytes=arena,
        golden_samples=samples,
        golden_tolerances=allowed,
        notes=_notes(found),
    )


def _read(path: Path) -> Any:
    """schema.ModelT of a file that is sound and compiled."""
    try:
        _, model = read_compiled(path)
    except ConversionError as e:
        hint = e.hint if e.code != "UnsupportedOp" else "end the model before that operator, and compile it again"
        refuse(e.code, str(e).replace("the source", _NAMED).replace("the model", _NAMED), hint)
    found = operators(model)
    if CUSTOM_OPERATOR not in found:
        named = ", ".join(f"{count} {name}" for name, count in list(found.items())[:6])
        refuse(
            "NotCompiled",
            f"{_NAMED} isn't compiled: none of its {sum(found.values())} operators is {CUSTOM_OPERATOR} ({named})",
            _COMPILE,
        )
    return model


def _processors(model: Any) -> tuple[dict[str, int], int]:
    """Of what stays on the processor: versions of its operators, and bytes of all activations."""
    try:
        versions = {name: version for name, version in needed_versions(model).items() if name != CUSTOM_OPERATOR}
        return versions, arena_bytes(model)
    except MISREAD as e:
        refuse("FormatMismatch", f"{_NAMED} is at odds with itself ({str(e)[:80]})", "compile the model again")


def _programs(model: Any) -> list[Program]:
    try:
        return programs(model)
    except ProgramError as e:
        refuse("ProgramInvalid", f"{_NAMED} can't run on an Edge TPU: {e}", "compile the model again")


def _signature(takes: Sequence[Edge], answers: Sequence[Floats], model: Any, names: Sequence[str]) -> Signature:
    """What the file takes and gives, once that is what the source does; outputs by the source's names."""
    graph = model.subgraphs[0]
    if graph.inputs is None or graph.outputs is None:
        _changed("takes or gives nothing")
    inputs = [_spec(graph.tensors[int(i)], "") for i in graph.inputs]
    outputs = [
        _spec(graph.tensors[int(i)], name)
        for i, name in zip_longest(graph.outputs, names[: len(graph.outputs)], fillvalue="")
    ]
    if [s.shape for s in inputs] != [shape for shape, *_ in takes]:
        _changed(f"takes {_listed([s.shape for s in inputs])}, and the source {_listed([e[0] for e in takes])}")
    # Answers have the samples in place of a batch of 1, where there is a batch.
    if len(outputs) != len(answers) or any(
        s.shape not in ((1, *y.shape[1:]), y.shape[1:]) for s, y in zip(outputs, answers, strict=True)
    ):
        given = _listed([(1, *y.shape[1:]) for y in answers])
        _changed(f"gives {_listed([s.shape for s in outputs])}, and the source {given}")
    for does, side, indices in (("takes", inputs, graph.inputs), ("gives", outputs, graph.outputs)):
        for spec, index in zip(side, indices, strict=True):
            _check_type(does, spec, graph.tensors[int(index)])
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs))


def _check_type(does: str, spec: TensorSpec, tensor: Any) -> None:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    count = len(scales) if scales is not None else 0
    if spec.dtype not in ("float32", "int8", "uint8") or (spec.dtype != "float32" and count != 1):
        _changed(
            f"{does} {spec.dtype} {list(spec.shape)} with {count} scales: a board can give and take float32, and "
            "int8 or uint8 with one scale"
        )


def _changed(what: str) -> NoReturn:
    refuse("SignatureChanged", f"{_NAMED} {what}", _SAME_MODEL + _INSTEAD)


def _spec(tensor: Any, name: str) -> TensorSpec:
    dtype, quantization = type_name(tensor), tensor.quantization
    is_scaled = quantization is not None and quantization.scale is not None and len(quantization.scale) == 1
    points = quantization.zeroPoint if is_scaled else None
    return TensorSpec(
        name=name or (tensor.name or b"").decode(errors="replace")[:120],
        shape=tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ())),
        dtype=dtype,
        quantization=Quantization(
            scale=float(quantization.scale[0]), zero_point=int(points[0]) if points is not None and len(points) else 0
        )
        if is_scaled and dtype != "float32"
        else None,
    )


def _listed(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes[:8]) or "nothing"


@dataclass(frozen=True, slots=True)
class _Range:
    """What a quantized tensor can say."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, spec: TensorSpec) -> "_Range | None":
        """None for float32, which can say anything."""
        if (q := spec.quantization) is None:
            return None
        limits = np.iinfo(spec.dtype)
        return cls((limits.min - q.zero_point) * q.scale, (limits.max - q.zero_point) * q.scale, q.scale)

    def nearest(self, y: Floats) -> Floats:
        """What it says for `y`."""
        said: Floats = (
            self.low + np.round((np.clip(y, self.low, self.high) - self.low) / self.step) * self.step
        ).astype(np.float32)
        return said

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g} in steps of {self.step:.4g}"


def _check_input(spec: TensorSpec, x: Floats) -> None:
    if (room := _Range.of(spec)) is None:
        return
    low, high = float(x.min()), float(x.max())
    clipped = float(((x < room.low - room.step) | (x > room.high + room.step)).mean())
    levels = (min(high, room.high) - max(low, room.low)) / room.step
    given = f"the evaluation set's inputs, pre-processed, are {low:.4g} to {high:.4g}"
    reach = f"{_NAMED} takes {spec.dtype} from {room}; {given}"
    hint = "spec.input.preprocess must bring inputs to what the file was quantized for" + _INSTEAD
    if clipped > _MAX_CLIPPED:
        refuse("QuantizationMismatch", f"{reach}: {clipped:.1%} of their numbers would be cut off", hint)
    if levels < _MIN_LEVELS <= (room.high - room.low) / room.step and high > low:
        refuse("QuantizationMismatch", f"{reach}: they would become {max(levels, 0) + 1:.0f} different numbers", hint)


def _check_outputs(specs: Sequence[TensorSpec], source: Sequence[Floats], allowed: Sequence[float]) -> None:
    """Refuse what no board could pass: answers that the file has no numbers for."""
    for spec, y, tolerance in zip(specs, source, allowed, strict=True):
        room = _Range.of(spec)
        off = float(np.abs(room.nearest(y) - y).max(initial=0.0)) if room is not None else 0.0
        if off > tolerance:
            refuse(
                "QuantizationMismatch",
                f"{_NAMED} can say {room} in its output {spec.name!r}, and the source answers {y.min():.4g} to "
                f"{y.max():.4g}: the nearest is off by {off:.4g}, and {tolerance:.4g} is allowed",
                "does one of the two end in a softmax, and the other not? " + _SAME_MODEL + _INSTEAD,
            )


def _allowed(
    task: CheckPrebuilt,
    x: Floats,
    source: Sequence[Floats],
    specs: Sequence[TensorSpec],
    where: Detections | None,
    stage: Callable[[str, int], None],
) -> tuple[tuple[float, ...], str]:
    """How far a board's answers may be from the source's, for each output, and why so far."""
    if task.tolerance is not None:
        return (task.tolerance,) * len(specs), f"{task.tolerance:.4g}, as the Model says"
    if task.twin is None:
        raise AssertionError("without a twin the Model must say it: the controller looks before it asks")
    try:
        runner = LiteRTRunner(Path(task.twin))
        made = run(runner, x[:_COMPARED], lambda share: stage("comparing", 90 + int(8 * share)))
    except RungError as e:
        raise ConversionError(e.code, f"what was made here for comparison: {e}", final=True) from e
    rounding = tolerances(task.rounding, task.metric, made, runner.signature.outputs)
    apart = _apart([y[:_COMPARED] for y in source], made, where, rounding)
    steps = [room.step / 2 if (room := _Range.of(spec)) is not None else 0.0 for spec in specs]
    allowed = tuple(float(np.float32(sum(parts))) for parts in zip(apart, rounding, steps, strict=True))
    measured = f"the {task.twin_recipe} made here is off by up to {max(apart):.4g} on {len(made[0])} samples"
    return allowed, f"{max(allowed):.4g}, for {measured}"


def _apart(
    source: Sequence[Floats], twin: Sequence[Floats], where: Detections | None, rounding: Sequence[float]
) -> list[float]:
    """The largest difference in each output; of detections, in the rows that the source is certain of.

    Scores are in order, so that two lists' scores can be compared as they are, and how far they are apart says which
    rows can't have moved.
    """
    apart = [float(np.abs(a - b).max(initial=0.0)) for a, b in zip(source, twin, strict=True)]
    if where is not None:
        picked, rows = certain(source, where, 2 * (apart[where.scores] + rounding[where.scores]), _SAMPLES)
        for n in (where.boxes, where.classes):
            apart[n] = float(np.abs(source[n][picked, :rows] - twin[n][picked, :rows]).max(initial=0.0))
    return apart


def _golden(
    task: CheckPrebuilt, x: Floats, source: Sequence[Floats], where: Detections | None, allowed: tuple[float, ...]
) -> tuple[int, tuple[float, ...]]:
    """Write GOLDEN_FILE; how many samples, and the tolerances."""
    most = min(_SAMPLES, max(_LEAST_SAMPLES, _GOLDEN_BYTES // x[0].nbytes))
    try:
        if where is None:
            golden, samples = golden_file(x, source, most=most)
        else:
            of = slice(_COMPARED)
            golden, samples, allowed = golden_detections(x[of], [y[of] for y in source], where, allowed, most)
    except RungError as e:
        raise ConversionError(e.code, str(e), final=True) from e
    (Path(task.folder) / GOLDEN_FILE).write_bytes(golden)
    return samples, allowed


def _findings(model: Any, found: Sequence[Program], file_bytes: int, expectation: str) -> Findings:
    return Findings(
        programs=len(found),
        program_bytes=sum(p.size for p in found),
        file_bytes=file_bytes,
        left={name: count for name, count in operators(model).items() if name != CUSTOM_OPERATOR},
        compiler=next((p.compiler for p in found if p.compiler), ""),
        runtime_version=max(p.runtime_version for p in found),
        expectation=expectation,
    )


def _notes(found: Sequence[Program]) -> tuple[str, ...]:
    notes = []
    if (asked := max(p.runtime_version for p in found)) > NEWEST_RUNTIME:
        notes.append(
            f"the compiled file asks for Edge TPU runtime {asked}; the newest that was published, {NEWEST_RUNTIME}, "
            "refuses it"
        )
    if len(found) > 1:
        notes.append(f"the compiled file has {len(found)} parts for the Edge TPU: boards copy between them")
    return tuple(notes)
