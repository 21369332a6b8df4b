"""Whether a `.tflite` file that somebody else made holds together: read, and every index looked at.

LiteRT checks some of this and segfaults on some of the rest. It is run in a process that may die of it; what is found
here gets a better sentence than that. Runs in workers, without an interpreter.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from litefleet_controller.convert.archive import check_head, refuse
from litefleet_controller.convert.opening.savedmodel import DEFAULT_SIGNATURE
from litefleet_controller.convert.targets.edgetpu_file import CUSTOM_OPERATOR, edges, operators, runtime_version
from litefleet_controller.convert.tflite.flatbuffer import IDENTIFIER, check_operators, operator_name, parse

_MAX_DIMENSIONS = 8
"""LiteRT's kernels take 8 at most, most of them fewer."""
_OPTIONAL = -1
"""In place of a tensor's index: this input isn't given."""
MISREAD = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What flatbuffers raises for a table that isn't where it should be: it trusts its input."""


def read_model(path: Path) -> tuple[bytes, Any]:
    """The file and its content as schema.ModelT, whole and at one with itself.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden`, `FormatMismatch`, `UnsupportedOp`, `BadShape`,
            `CompiledAlready` or `SignatureMissing`.
    """
    data, model = read_compiled(path)
    if CUSTOM_OPERATOR in _custom_operators(model):
        _refuse_prebuilt(model)
    _check_signatures(model)
    return data, model


def read_compiled(path: Path) -> tuple[bytes, Any]:
    """As `read_model`, of a file that may be compiled for the Edge TPU.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden`, `FormatMismatch`, `UnsupportedOp` or `BadShape`.
    """
    check_head(path, IDENTIFIER, "a .tflite file", "spec.source.format says what the source is", offset=4)
    data = path.read_bytes()
    try:
        model = parse(data)
        is_empty = not model.subgraphs or not model.subgraphs[0].operators
    except MISREAD as e:
        refuse("FormatMismatch", f"the source is a cut off or damaged .tflite file ({str(e)[:80]})", "upload it again")
    if is_empty:
        refuse("FormatMismatch", "the source is a .tflite file without a single operator", "upload it again")
    for buffer in model.buffers or ():
        if buffer.offset > 1 and buffer.offset + buffer.size > len(data):
            refuse(
                "FormatMismatch",
                f"the source is cut off: weights end at {buffer.offset + buffer.size}",
                "upload it again",
            )
    check_operators(model, but=CUSTOM_OPERATOR)
    for number, graph in enumerate(model.subgraphs):
        _check_tensors(model, graph)
        _check_operators(model, graph, number)
    return data, model


def _custom_operators(model: Any) -> set[str]:
    return {code.customCode.decode(errors="replace") for code in model.operatorCodes or () if code.customCode}


def _check_tensors(model: Any, graph: Any) -> None:
    for index, tensor in enumerate(graph.tensors or ()):
        shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
        name = (tensor.name or b"").decode(errors="replace")[:60]
        if len(shape) > _MAX_DIMENSIONS or any(n < 0 for n in shape):
            shown = f"{shape[:_MAX_DIMENSIONS]}" + (
                f" and {len(shape)} dimensions" if len(shape) > _MAX_DIMENSIONS else ""
            )
            refuse("BadShape", f"the source's tensor {index} ({name!r}) has the shape {shown}")
        if not 0 <= tensor.buffer < len(model.buffers or ()):
            refuse(
                "BadShape", f"the source's tensor {index} ({name!r}) has the buffer {tensor.buffer}, which isn't there"
            )


def _check_operators(model: Any, graph: Any, number: int) -> None:
    there = len(graph.tensors or ())
    where = "" if number == 0 else f" of graph {number}"
    _check_indices(graph.inputs, there, 0, f"the source's graph {number} takes")
    _check_indices(graph.outputs, there, 0, f"the source's graph {number} gives")
    for place, operator in enumerate(graph.operators or ()):
        if not 0 <= operator.opcodeIndex < len(model.operatorCodes or ()):
            refuse(
                "BadShape",
                f"the source's operator {place}{where} has the code {operator.opcodeIndex}, which isn't there",
            )
        shown = f"the source's operator {place} ({operator_name(model, operator)}){where}"
        _check_indices(operator.inputs, there, _OPTIONAL, f"{shown} reads")
        _check_indices(operator.outputs, there, 0, f"{shown} writes")


def _check_indices(indices: Sequence[int] | None, there: int, least: int, what: str) -> None:
    for index in () if indices is None else map(int, indices):
        if not least <= index < there:
            refuse("BadShape", f"{what} tensor {index}, and there are {there}")


def _refuse_prebuilt(model: Any) -> NoReturn:
    """What edgetpu_compiler made: its structure can be read, its answers can't.

    Nothing here runs it, so there is nothing to hold against an evaluation set and no golden samples, and a board would
    take it unchecked.
    """
    graph = model.subgraphs[0]
    given, made = (", ".join(f"{dtype} {list(shape)}" for shape, dtype, _, _ in side) for side in edges(model))
    runtime = runtime_version(model)
    needs = "an Edge TPU runtime that it doesn't name" if runtime is None else f"Edge TPU runtime {runtime} or newer"
    for_tpu = operators(model).get(CUSTOM_OPERATOR, 0)
    refuse(
        "CompiledAlready",
        f"the source is compiled for the Edge TPU already: {len(graph.operators)} operators, of which {for_tpu} for "
        f"the TPU; takes {given}, gives {made}; needs {needs}. Without an Edge TPU nobody can tell what it answers, so "
        "nothing can be made of it or compared with it",
        "name it in spec.prebuilt.edgetpu, and in spec.source the model that it was compiled from (the int8 .tflite, "
        "or better the .keras file, SavedModel or float .tflite before that): boards with an Edge TPU get the compiled "
        "file once it is checked, and all others what is made of the source",
    )


def _check_signatures(model: Any) -> None:
    """The main graph is what is converted; other graphs with names of their own make it unclear what is meant."""
    signatures = model.signatureDefs or []
    main = [s for s in signatures if s.subgraphIndex == 0]
    names = [(s.signatureKey or b"").decode(errors="replace") for s in signatures]
    if len(signatures) > 1 and DEFAULT_SIGNATURE not in [
        (s.signatureKey or b"").decode(errors="replace") for s in main
    ]:
        refuse(
            "SignatureMissing",
            f"the source has the signatures {', '.join(map(repr, names))[:200]}, and none is {DEFAULT_SIGNATURE!r}",
            f"convert it with one signature, or with {DEFAULT_SIGNATURE!r} as the first",
        )
