"""Whether an `_edgetpu.tflite` that was compiled elsewhere can be of its source: all that is known without a TPU.

Read, not run. What is looked at: that libedgetpu would take it, that it takes and gives what the source does, and that
its quantization can hold the source's inputs and say the source's answers. What it does answer the first board finds
out, with golden samples that have the source's answers. Runs in workers.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import inf
from pathlib import Path
from typing import Any, NoReturn

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.structure import MISREAD, read_compiled
from litefleet_controller.convert.proving.answers import read_answers
from litefleet_controller.convert.samples.datasets import load_evaluation
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.targets.edgetpu_expectation import allowed, write_golden
from litefleet_controller.convert.targets.edgetpu_file import CUSTOM_OPERATOR, Edge, edges, operators
from litefleet_controller.convert.targets.edgetpu_program import NEWEST_RUNTIME, Program, ProgramError, programs
from litefleet_controller.convert.targets.edgetpu_range import check_input, check_outputs
from litefleet_controller.convert.targets.prebuilt import INSTEAD, NAMED, SAME_MODEL, Findings
from litefleet_controller.convert.tflite.detections import detections_of
from litefleet_controller.convert.tflite.flatbuffer import arena_bytes, input_shape, parse
from litefleet_controller.convert.tflite.opversions import needed_versions, traits
from litefleet_controller.convert.tflite.precision import type_name
from litefleet_controller.convert.workers.tasks import CheckedPrebuilt, CheckPrebuilt
from litefleet_protocol.tensors import Quantization, Signature, TensorSpec

_COMPILE = "name the NAME_edgetpu.tflite that edgetpu_compiler wrote, not the file that it was given"


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
    check_input(signature.inputs[0], x)
    where = detections_of(frozen) if task.metric == "closeness" else None
    tolerance, expectation = allowed(task, x, source, signature.outputs, where, stage)
    samples, tolerance = write_golden(task, x, source, where, tolerance)
    if where is None:  # lists of detections are float32
        check_outputs(signature.outputs, [y[:samples] for y in source], tolerance)
    needed, arena = _processors(model)
    return CheckedPrebuilt(
        findings=_findings(model, found, Path(task.prebuilt).stat().st_size, expectation),
        signature=signature,
        operators=operators(model),
        operator_versions=needed,
        traits=traits(model),
        arena_bytes=arena,
        golden_samples=samples,
        golden_tolerances=tolerance,
        notes=_notes(found),
    )


def _read(path: Path) -> Any:
    """schema.ModelT of a file that is sound and compiled."""
    try:
        _, model = read_compiled(path)
    except ConversionError as e:
        hint = e.hint if e.code != "UnsupportedOp" else "end the model before that operator, and compile it again"
        said = str(e).replace("the source's ", f"in {NAMED}, ").replace("the source", NAMED).replace("the model", NAMED)
        refuse(e.code, said, hint)
    found = operators(model)
    if CUSTOM_OPERATOR not in found:
        named = ", ".join(f"{count} {name}" for name, count in list(found.items())[:6])
        refuse(
            "NotCompiled",
            f"{NAMED} isn't compiled: none of its {sum(found.values())} operators is {CUSTOM_OPERATOR} ({named})",
            _COMPILE,
        )
    return model


def _processors(model: Any) -> tuple[dict[str, int], int]:
    """Of what stays on the processor: versions of its operators, and bytes of all activations."""
    try:
        versions = {name: version for name, version in needed_versions(model).items() if name != CUSTOM_OPERATOR}
        return versions, arena_bytes(model)
    except MISREAD as e:
        refuse("FormatMismatch", f"{NAMED} is at odds with itself ({str(e)[:80]})", "compile the model again")


def _programs(model: Any) -> list[Program]:
    try:
        return programs(model)
    except ProgramError as e:
        refuse("ProgramInvalid", f"{NAMED} can't run on an Edge TPU: {e}", "compile the model again")


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
    if spec.quantization is not None and not 0 < spec.quantization.scale < inf:
        _changed(f"{does} {spec.dtype} {list(spec.shape)} with the scale {spec.quantization.scale:g}")


def _changed(what: str) -> NoReturn:
    refuse("SignatureChanged", f"{NAMED} {what}", SAME_MODEL + INSTEAD)


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
