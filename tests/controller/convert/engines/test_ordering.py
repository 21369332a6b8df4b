"""One order and one set of names for ONNX graphs that compute the same."""

from typing import Any

from onnx import TensorProto, helper

from litefleet_controller.convert.engines.ordering import put_in_order


def _graph(names: dict[str, str], *, is_turned: bool) -> Any:
    """relu(x @ a) + b with a node that nobody needs, under other names and, turned, in another order."""
    n = names
    a = helper.make_tensor(n["a"], TensorProto.FLOAT, [2, 2], [1, 2, 3, 4])
    b = helper.make_tensor(n["b"], TensorProto.FLOAT, [2], [5, 6])
    nodes = [
        helper.make_node("MatMul", ["x", n["a"]], [n["p"]], n["p"]),
        helper.make_node("Relu", [n["p"]], [n["q"]], n["q"]),
        helper.make_node("Neg", [n["p"]], [n["r"]], n["r"]),
        helper.make_node("Add", [n["q"], n["b"]], ["y"], "last"),
    ]
    if is_turned:
        nodes = [nodes[0], nodes[2], nodes[1], nodes[3]]
    given, made = (helper.make_tensor_value_info(v, TensorProto.FLOAT, [1, 2]) for v in ("x", "y"))
    return helper.make_graph(nodes, "g", [given], [made], [b, a] if is_turned else [a, b])


def test_two_graphs_that_compute_the_same_become_the_same() -> None:
    one = _graph({k: f"{k}__1" for k in "abpqr"}, is_turned=False)
    two = _graph({k: f"other/{k}:0" for k in "abpqr"}, is_turned=True)
    put_in_order(one)
    put_in_order(two)
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
    assert [n.op_type for n in one.node] == ["MatMul", "Relu", "Add"]
    assert [t.name for t in one.initializer] == ["constant_0", "constant_1"]
    assert (one.input[0].name, one.output[0].name, one.node[2].output[0]) == ("x", "y", "y")
