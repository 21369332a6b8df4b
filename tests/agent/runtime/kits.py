"""The same small models in each engine's form: float32 `x` [1, 4] to `z` [1, 3] unless it is said otherwise.

ONNX is written node by node, and OpenVINO reads it and writes its own.
"""

import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from litefleet_agent.runtime.engines import runtime
from litefleet_agent.runtime.interface import EngineModel
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName
from tests.agent.artifacts import DATA, npz, sha

OPSET = 17
_A = np.array([[4, 0, 0, 1], [0, 4, 0, 1], [0, 0, 4, 1]], np.float32)
_B = np.array([[0, 4, 0, 1], [0, 0, 4, 1], [4, 0, 0, 1]], np.float32)
WEIGHTS = {"a": _A, "b": _B, "nan": np.full((3, 4), np.nan, np.float32), "wide": np.ones((5, 4), np.float32)}
_TFLITE = {"wide": "wide-5-classes.tflite", "hang": "hang-4.tflite", "huge": "huge-4.tflite"}
Files = dict[str, bytes]


def files(engine: str, name: str) -> Files:
    """`a` and `b`: softmax(W x); `nan`: always NaN; `wide`: five classes; `image`: [1, 2, 3, 3], its channels' means,
    softmax; `pair`: also the largest input, [1, 1]; `hang` ([1, 4] to [1, 4]): never returns; `huge` (the same): by way of 1.6 GB.
    """
    if engine == RuntimeName.LITERT:
        return {"model.tflite": (DATA / _TFLITE.get(name, f"{name}.tflite")).read_bytes()}
    model = _onnx(name)
    return {"model.onnx": model} if engine == RuntimeName.ONNXRUNTIME else _openvino(model)


def load(engine: str, made: Files, folder: Path, **options: object) -> EngineModel:
    """Written to `folder` and loaded."""
    folder.mkdir(exist_ok=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    first, *others = MODEL_FILES[engine]
    return runtime(engine).load(
        folder / first,
        **({"threads": 1, "digest": sha(made[first]), "beside": {n: sha(made[n]) for n in others}} | options),
    )


def golden(engine: str, made: Files, *, shift: float = 0.0) -> bytes:
    """Three samples, and what the engine itself answers."""
    x = np.random.default_rng(3).random((3, 4), dtype=np.float32) * 2
    with tempfile.TemporaryDirectory() as folder:
        model = load(engine, made, Path(folder))
        y = np.concatenate([model.infer([x[n : n + 1]])[0] for n in range(len(x))])
    return npz(x0=x, y0=y + np.float32(shift))


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _onnx(name: str) -> bytes:
    if name == "image":
        nodes = [helper.make_node("ReduceMean", ["x"], ["means"], axes=[1, 2], keepdims=0), _softmax("means")]
        return _model(nodes, [], [1, 2, 3, 3], 3)
    if name == "pair":
        weights = numpy_helper.from_array(WEIGHTS["a"].T.copy(), "w")
        largest = helper.make_node("ReduceMax", ["x"], ["largest"], axes=[1], keepdims=1)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), _softmax("y"), largest]
        return _model(nodes, [weights], [1, 4], 3, helper.make_tensor_value_info("largest", TensorProto.FLOAT, [1, 1]))
    if name == "hang":
        return _hang()
    if name == "huge":
        shape = numpy_helper.from_array(np.array([100_000_000, 4], np.int64), "shape")
        nodes = [
            helper.make_node("Expand", ["x", "shape"], ["big"]),
            helper.make_node("ReduceMax", ["big"], ["z"], axes=[0]),
        ]
        return _model(nodes, [shape], [1, 4], 4)
    weights = WEIGHTS[name]
    constants = [
        numpy_helper.from_array(weights, "w"),
        # Unused by the answer, so that the file has several chunks.
        numpy_helper.from_array(np.random.default_rng(7).standard_normal((4, 50_000)).astype(np.float32), "padding"),
        numpy_helper.from_array(np.zeros(1, np.float32), "nought"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "padding"], ["much"]),
        helper.make_node("ReduceMax", ["much"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["most", "nought"], ["nothing"]),
        helper.make_node("Gemm", ["x", "w", "nothing"], ["y"], transB=1),
        _softmax("y"),
    ]
    return _model(nodes, constants, [1, 4], len(weights))


def _softmax(of: str) -> onnx.NodeProto:
    return helper.make_node("Softmax", [of], ["z"], axis=-1)


def _hang() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Mul", ["a", "one"], ["r"])],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 4]),
        ],
    )
    constants = [
        numpy_helper.from_array(np.array(2**62, np.int64), "times"),
        numpy_helper.from_array(np.array(True), "true"),
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
    ]
    return _model([helper.make_node("Loop", ["times", "true", "x"], ["z"], body=body)], constants, [1, 4], 4)


def _model(
    nodes: list[onnx.NodeProto],
    constants: list[TensorProto],
    shape: list[int],
    classes: int,
    *more: onnx.ValueInfoProto,
) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, classes])
    graph = helper.make_graph(nodes, "model", [x], [z, *more], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    return model.SerializeToString()


@functools.cache
def _openvino(model: bytes) -> Files:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(openvino.Core().read_model(model), Path(folder) / "model.xml", compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in MODEL_FILES[RuntimeName.OPENVINO]}
