"""A `.tflite` file whose weights are merely stored narrow, made float32 again: nothing that was rounded is lost by it.

Many files that people have (MediaPipe's, for one) hold their weights in float16, each behind a DEQUANTIZE that makes it
float32 before it is used, or as a sparse matrix behind a DENSIFY. Left like that, no recipe but their own could be made
of them, and the quantizer can't look through either. What depends on stored numbers alone is computed once, here, and
what is left is the float32 model that the file was made of, as far as it still exists. Runs in workers, in a process
that may die of it.
"""

from typing import Any

from litefleet_controller.convert.tflite.fixing import make_constant, run_once
from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize, with_inlined_buffers
from litefleet_controller.convert.tflite.precision import has_data, type_name

_UNPACKING = frozenset({"DEQUANTIZE", "DENSIFY"})
_NARROW = frozenset({"float16", "float32"})
"""What can be unpacked without having been rounded to integers: sparse float32 too."""


def is_narrow(model: Any) -> bool:
    """Whether any weights are stored in float16 or sparse."""
    return any(_unpacks(model, model.subgraphs[0], operator, set()) for operator in model.subgraphs[0].operators)


def widened(data: bytes) -> bytes:
    """The same model with every weight in float32.

    Raises:
        ConversionError: final; see `fixing.run_once`.
    """
    data = with_inlined_buffers(data)
    interpreter = run_once(data, "LiteRT can't unpack the source's weights")
    model = parse(data)
    graph = model.subgraphs[0]
    known: set[int] = set()
    kept = []
    for operator in graph.operators:
        if not _unpacks(model, graph, operator, known):
            kept.append(operator)
            continue
        result = int(operator.outputs[0])
        known.add(result)
        if type_name(graph.tensors[result]) == "float32":
            make_constant(model, graph.tensors[result], interpreter.get_tensor(result))
    graph.operators = kept
    _drop_unused(model)
    return serialize(model)


def _drop_unused(model: Any) -> None:
    """Tensors of the main graph that nothing reads or writes any more, and the numbers that no tensor has."""
    graph = model.subgraphs[0]
    lists = [graph.inputs, graph.outputs, *(o.inputs for o in graph.operators), *(o.outputs for o in graph.operators)]
    lists += [o.intermediates for o in graph.operators if o.intermediates is not None]
    used = sorted({int(i) for each in lists for i in each if i >= 0})
    place = {index: n for n, index in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = ([place[int(i)] for i in each] for each in (graph.inputs, graph.outputs))
    for operator in graph.operators:
        operator.inputs, operator.outputs = (
            [place[int(i)] for i in each] for each in (operator.inputs, operator.outputs)
        )
        if operator.intermediates is not None:
            operator.intermediates = [place[int(i)] for i in operator.intermediates]
    model.signatureDefs = None  # the caller names the edges
    wanted = {t.buffer for g in model.subgraphs for t in g.tensors} | {m.buffer for m in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in wanted:
            buffer.data = None


def _unpacks(model: Any, graph: Any, operator: Any, known: set[int]) -> bool:
    """Whether it only turns stored numbers (or those of `known` tensors) into what is computed with."""
    if operator_name(model, operator) not in _UNPACKING or len(operator.outputs) != 1:
        return False
    given = int(operator.inputs[0])
    tensor = graph.tensors[given]
    return type_name(tensor) in _NARROW and (given in known or has_data(model, tensor))
