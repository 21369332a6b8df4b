"""What of a model would run on an Edge TPU, and why the rest would not: foretold, before any compiler has seen it.

The compiler makes one part for the TPU, at the graph's beginning: from the first operator that the TPU can't run,
everything that needs its result runs on the CPU, even what the TPU has. Operators beside it that don't need it still
join the first part, as LiteRT's partitioning has it. A QUANTIZE from float at the model's input is on the CPU, too, and
ends nothing. Sources: https://coral.ai/docs/edgetpu/compiler/ and the page that edgetpu_operations.yaml names. The
compiler has limits of its own (memory on the chip, tensor sizes) that nobody published, so its log has the last word
where there is one. Pure.
"""

from litefleet_controller.convert.targets.edgetpu_limits import GENERAL, NAMED
from litefleet_controller.convert.targets.edgetpu_table import Operation, table
from litefleet_controller.convert.targets.graph import Graph, Operator
from litefleet_controller.convert.targets.macs import macs
from litefleet_controller.convert.targets.prediction import Fate, Prediction


def report(graph: Graph) -> Prediction:
    """One fate for each operator."""
    held_back: dict[int, str] = {}
    """Tensors that are ready only after the TPU's part, and the operator that they wait for."""
    fates = []
    for operator in graph.operators:
        code, reason = _obstacle(operator)
        waits = next((held_back[t.index] for t in operator.inputs if t.index in held_back), None)
        if not code and waits is not None:
            code, reason = "AfterFallback", f"it needs the result of {waits}, which runs on the CPU"
        if code and not _is_entry(operator, graph):
            held_back |= dict.fromkeys((t.index for t in operator.outputs), waits or operator.name)
        fates.append(
            Fate(
                name=operator.name,
                place="cpu" if code else "accelerator",
                macs=macs(operator),
                code=code,
                reason=reason,
                doubt="" if code else _doubt(operator),
            )
        )
    return Prediction(fates=tuple(fates), source=table().source)


def _obstacle(operator: Operator) -> tuple[str, str]:
    """Code and reason why the TPU can't run it, both empty when it can."""
    known = table().operations.get(operator.name)
    if known is None:
        return "Unsupported", "the Edge TPU doesn't have it"
    for code, rule in GENERAL.items():
        if (wrong := rule(operator)) is not None:
            return code, wrong
    for name in known.limits:
        if (wrong := NAMED[name](operator)) is not None:
            return "Limit", wrong
    return "", ""


def _is_entry(operator: Operator, graph: Graph) -> bool:
    return operator.name == "QUANTIZE" and all(t.index in graph.inputs for t in operator.inputs)


def _doubt(operator: Operator) -> str:
    known: Operation = table().operations[operator.name]
    doubts = [wrong for name in known.doubts if (wrong := NAMED[name](operator)) is not None]
    if known.refused_from is not None and operator.version >= known.refused_from:
        doubts.append(f"compiler 16.0 was seen to refuse version {known.refused_from}, and this is {operator.version}")
    if known.read == "name":
        doubts.append("its limits are not known here")
    return "; ".join(doubts)
