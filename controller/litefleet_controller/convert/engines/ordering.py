"""One order and one set of names for an ONNX graph, so that the same model gives the same bytes.

tf2onnx walks sets of objects, which lie in another order in every process, and numbers names as it goes. Here nodes are
put in the order in which the outputs need them, and named by it.
"""

from collections.abc import Iterator
from typing import Any


def put_in_order(graph: Any) -> None:
    """Sort and rename the nodes and constants of `graph`, an onnx.GraphProto, in place. Inputs and outputs keep theirs.

    A graph with graphs inside (loops, branches) stays as it is: names inside refer to names outside.
    """
    if any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute):
        return
    nodes = list(_needed(graph))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = list(dict.fromkeys(name for node in nodes for name in node.input if name in constants))
    names = {"": ""} | {name: f"constant_{n}" for n, name in enumerate(used)}
    for n, node in enumerate(nodes):
        node.name = f"{node.op_type}_{n}"
        names |= {output: f"{node.name}:{k}" for k, output in enumerate(node.output) if output}
    names |= {value.name: value.name for value in (*graph.input, *graph.output)}
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    kept = [constants[name] for name in used]
    for tensor in kept:
        tensor.name = names[tensor.name]
    # Copied before the lists that own them are emptied.
    nodes, kept = [_copy(n) for n in nodes], [_copy(t) for t in kept]
    for field, content in ((graph.node, nodes), (graph.initializer, kept), (graph.value_info, [])):
        del field[:]
        field.extend(content)


def _needed(graph: Any) -> Iterator[Any]:
    """The nodes that the outputs need, each after those that it needs itself, in the order of its inputs."""
    makers = {output: node for node in graph.node for output in node.output}
    done: set[int] = set()
    for output in graph.output:
        waiting = [(makers[output.name], False)] if output.name in makers else []
        while waiting:
            node, is_ready = waiting.pop()
            if id(node) in done:
                continue
            if is_ready:
                done.add(id(node))
                yield node
                continue
            waiting.append((node, True))
            waiting.extend((makers[name], False) for name in reversed(node.input) if name in makers)


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
