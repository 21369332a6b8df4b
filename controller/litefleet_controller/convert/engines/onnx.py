"""ONNX, for ONNX Runtime: one file, made by tf2onnx of the frozen `.tflite` file.

tf2onnx imports tensorflow for what it knows of operators, so this is done in a worker that has it loaded anyway
(rungs.py).
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from litefleet_controller.convert.engines.interface import first_line
from litefleet_controller.convert.engines.ordering import put_in_order
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Recipe
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName
from litefleet_protocol.tensors import Signature, TensorSpec

OPSET = 17
"""Of operators: ONNX Runtime 1.12 of 2022 has it, so that boards with what their maker still ships can run the file."""
_LEAST_HALVED = 16
"""Numbers that a constant has at least: smaller ones are bounds and epsilons, where half the digits save nothing."""
_TYPES = {"tensor(float)": "float32", "tensor(int32)": "int32", "tensor(int64)": "int64", "tensor(bool)": "bool"}


class OnnxForm:
    """Implements `interface.Form`."""

    def write(self, frozen: Path, how: Recipe, folder: Path) -> dict[str, int]:
        """Write the file; how often each operator stands in the graph."""
        import onnx
        import onnx.checker

        model = _converted(frozen)
        if how.weights.dtype == "float16":
            _halve(model)
        try:
            # tf2onnx goes on after an operator that it doesn't know, and leaves it in under its old name.
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, RuntimeError) as e:
            raise RungError("UnsupportedOp", f"the model can't be said in ONNX: {first_line(e)}") from e
        path = folder / MODEL_FILES[RuntimeName.ONNXRUNTIME][0]
        path.write_bytes(model.SerializeToString(deterministic=True))
        return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))

    def load(self, path: Path) -> "OnnxRunner":
        """A runner on the CPU provider."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # its errors derive from nothing narrower
            raise RungError("BadShape", f"ONNX Runtime can't load the variant: {first_line(e)}") from e
        return OnnxRunner(session)


class OnnxRunner:
    """Implements `interface.Runner`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.signature = Signature(
            inputs=tuple(map(_spec, session.get_inputs())), outputs=tuple(map(_spec, session.get_outputs()))
        )

    def infer(self, sample: Floats) -> list[Floats]:
        """Run one input."""
        (given,) = self.signature.inputs
        try:
            outputs = self._session.run(None, {given.name: sample})
        except Exception as e:  # as above
            raise RuntimeError(first_line(e)) from e
        return [output.astype(np.float32, copy=False) for output in outputs]


def _converted(frozen: Path) -> Any:
    import tf2onnx.convert

    try:
        model, _ = tf2onnx.convert.from_tflite(str(frozen), opset=OPSET)
    except Exception as e:  # a converter's insides: anything may come out
        raise RungError("ConversionFailed", f"tf2onnx can't convert the model: {first_line(e)}") from e
    put_in_order(model.graph)
    model.graph.name = "model"
    model.doc_string = ""
    return model


def _halve(model: Any) -> None:
    """Store constants in float16, each with a cast to float32 behind it, which ONNX Runtime does once, when it loads.

    Not what ONNX Runtime's own tool does, which has the arithmetic in float16, too: a processor has no such kernels,
    and converts back and forth around every operator.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _LEAST_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}/cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _spec(node: Any) -> TensorSpec:
    if node.type not in _TYPES or not all(isinstance(n, int) for n in node.shape):
        said = f"{node.name} is {node.type} {node.shape} in ONNX"
        raise RungError("BadShape", f"{said}; boards take tensors of a fixed shape, in {', '.join(_TYPES.values())}")
    return TensorSpec(name=node.name, shape=tuple(node.shape), dtype=_TYPES[node.type])
