"""Makes the small `.tflite` files of these tests, without tensorflow: `python tests/agent/data/make_models.py`.

All take float32 [1, 4] and give [1, 3] unless their name says otherwise.
"""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s

HERE = Path(__file__).parent
FLOAT, INT8, BOOL = s.TensorType.FLOAT32, s.TensorType.INT8, s.TensorType.BOOL


class Graph:
    """One model under construction."""

    def __init__(self):
        self.model = s.ModelT()
        self.model.version = 3
        self.model.buffers = [s.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = []
        self.graph()

    def graph(self):
        sub = s.SubGraphT()
        sub.tensors, sub.operators, sub.inputs, sub.outputs, sub.name = [], [], [], [], b"g"
        self.model.subgraphs.append(sub)
        self.sub = sub
        return len(self.model.subgraphs) - 1

    def tensor(self, name, shape, kind=FLOAT, data=None, quantization=None):
        t = s.TensorT()
        t.name, t.shape, t.type, t.buffer = name.encode(), list(shape), kind, 0
        t.shapeSignature = list(shape)
        if data is not None:
            b = s.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(b)
            t.buffer = len(self.model.buffers) - 1
        if quantization:
            q = s.QuantizationParametersT()
            q.scale, q.zeroPoint = [quantization[0]], [quantization[1]]
            t.quantization = q
        self.sub.tensors.append(t)
        return len(self.sub.tensors) - 1

    def op(self, code, inputs, outputs, options=None, options_type=0, version=1):
        oc = s.OperatorCodeT()
        oc.builtinCode, oc.deprecatedBuiltinCode, oc.version = code, min(code, 127), version
        self.model.operatorCodes.append(oc)
        o = s.OperatorT()
        o.opcodeIndex = len(self.model.operatorCodes) - 1
        o.inputs, o.outputs = inputs, outputs
        o.builtinOptions, o.builtinOptionsType = options, options_type
        self.sub.operators.append(o)

    def io(self, inputs, outputs):
        self.sub.inputs, self.sub.outputs = inputs, outputs

    def fully_connected(self, x, weights, bias, out, version=1):
        options = s.FullyConnectedOptionsT()
        self.op(
            s.BuiltinOperator.FULLY_CONNECTED,
            [x, weights, bias],
            [out],
            options,
            s.BuiltinOptions.FullyConnectedOptions,
            version,
        )

    def softmax(self, x, out, version=1):
        options = s.SoftmaxOptionsT()
        options.beta = 1.0
        self.op(s.BuiltinOperator.SOFTMAX, [x], [out], options, s.BuiltinOptions.SoftmaxOptions, version)

    def save(self, name):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        (HERE / name).write_bytes(bytes(builder.Output()))


def dense(name, weights, bias, classes=3, hidden_padding=0):
    """x -> softmax(Wx + b); `hidden_padding` adds an unused constant so that the file has several chunks."""
    g = Graph()
    x = g.tensor("x", [1, 4])
    w = g.tensor("w", [classes, 4], data=np.asarray(weights, np.float32))
    b = g.tensor("b", [classes], data=np.asarray(bias, np.float32))
    y = g.tensor("y", [1, classes])
    z = g.tensor("z", [1, classes])
    if hidden_padding:
        rng = np.random.default_rng(7)
        g.tensor("padding", [hidden_padding // 4], data=rng.standard_normal(hidden_padding // 4).astype(np.float32))
    g.fully_connected(x, w, b, y)
    g.softmax(y, z)
    g.io([x], [z])
    g.save(name)


def dense_int8(name, weights):
    """int8 inside and out: x in 1/64, output of softmax in 1/256 with zero point -128."""
    g = Graph()
    x = g.tensor("x", [1, 4], INT8, quantization=(1 / 64, 0))
    stored = np.clip(np.rint(np.asarray(weights) / (1 / 32)), -127, 127).astype(np.int8)
    w = g.tensor("w", [3, 4], INT8, data=stored, quantization=(1 / 32, 0))
    b = g.tensor("b", [3], s.TensorType.INT32, data=np.zeros(3, np.int32), quantization=(1 / 2048, 0))
    y = g.tensor("y", [1, 3], INT8, quantization=(1 / 8, 0))
    z = g.tensor("z", [1, 3], INT8, quantization=(1 / 256, -128))
    g.fully_connected(x, w, b, y, version=4)
    g.softmax(y, z, version=2)
    g.io([x], [z])
    g.save(name)


def relu(path):
    """[1, 4] -> relu(x): what the agent tries LiteRT and its delegates on."""
    g = Graph()
    x, y = g.tensor("x", [1, 4]), g.tensor("y", [1, 4])
    g.op(s.BuiltinOperator.RELU, [x], [y])
    g.io([x], [y])
    g.save(path)


def log_model(name):
    """[1, 4] -> log(x): finite for positive inputs, NaN for negative ones."""
    g = Graph()
    x = g.tensor("x", [1, 4])
    y = g.tensor("y", [1, 4])
    g.op(s.BuiltinOperator.LOG, [x], [y])
    g.io([x], [y])
    g.save(name)


def loop_model(name):
    """[1, 4] -> while first element < 1e9: x = x * 1: never returns for small inputs."""
    g = Graph()
    x = g.tensor("x", [1, 4])
    y = g.tensor("y", [1, 4])
    options = s.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    g.op(s.BuiltinOperator.WHILE, [x], [y], options, s.BuiltinOptions.WhileOptions)
    g.io([x], [y])
    g.graph()
    a = g.tensor("a", [1, 4])
    m = g.tensor("m", [])
    axes = g.tensor("axes", [2], s.TensorType.INT32, data=np.array([0, 1], np.int32))
    limit = g.tensor("limit", [], data=np.array(1e9, np.float32))
    c = g.tensor("c", [], BOOL)
    reduce = s.ReducerOptionsT()
    reduce.keepDims = False
    g.op(s.BuiltinOperator.REDUCE_MAX, [a, axes], [m], reduce, s.BuiltinOptions.ReducerOptions)
    g.op(s.BuiltinOperator.LESS, [m, limit], [c], s.LessOptionsT(), s.BuiltinOptions.LessOptions)
    g.io([a], [c])
    g.graph()
    a = g.tensor("a", [1, 4])
    one = g.tensor("one", [1], data=np.array([1], np.float32))
    r = g.tensor("r", [1, 4])
    g.op(s.BuiltinOperator.MUL, [a, one], [r], s.MulOptionsT(), s.BuiltinOptions.MulOptions)
    g.io([a], [r])
    g.save(name)


def huge_model(name):
    """[1, 4] -> broadcast to 1.6 GB and reduced again: more memory than a limit of 1 GiB gives."""
    g = Graph()
    n = 100_000_000
    x = g.tensor("x", [1, 4])
    shape = g.tensor("shape", [2], s.TensorType.INT32, data=np.array([n, 4], np.int32))
    big = g.tensor("big", [n, 4])
    axes = g.tensor("axes", [1], s.TensorType.INT32, data=np.array([0], np.int32))
    y = g.tensor("y", [1, 4])
    g.op(s.BuiltinOperator.BROADCAST_TO, [x, shape], [big], version=2)
    reduce = s.ReducerOptionsT()
    reduce.keepDims = True
    g.op(s.BuiltinOperator.REDUCE_MAX, [big, axes], [y], reduce, s.BuiltinOptions.ReducerOptions)
    g.io([x], [y])
    g.save(name)


def convolutions(path):
    """[1, 28, 28, 1] -> three convolutions -> softmax over 10: about a millisecond of work. Made where it is needed."""
    rng = np.random.default_rng(0)
    g = Graph()
    x = before = g.tensor("x", [1, 28, 28, 1])
    channels, size = 1, 28
    for n, (wide, stride) in enumerate([(32, 1), (152, 2), (152, 1)]):
        size //= stride
        w = g.tensor(f"w{n}", [wide, 3, 3, channels], data=rng.normal(0, 0.05, (wide, 3, 3, channels)).astype("f4"))
        b = g.tensor(f"b{n}", [wide], data=np.zeros(wide, np.float32))
        after = g.tensor(f"y{n}", [1, size, size, wide])
        options = s.Conv2DOptionsT()
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding = s.Padding.SAME
        options.fusedActivationFunction = s.ActivationFunctionType.RELU
        g.op(s.BuiltinOperator.CONV_2D, [before, w, b], [after], options, s.BuiltinOptions.Conv2DOptions)
        before, channels = after, wide
    flat = size * size * channels
    w = g.tensor("w", [10, flat], data=rng.normal(0, 0.01, (10, flat)).astype("f4"))
    b = g.tensor("b", [10], data=np.zeros(10, np.float32))
    y, z = g.tensor("y", [1, 10]), g.tensor("z", [1, 10])
    g.fully_connected(before, w, b, y)
    g.softmax(y, z)
    g.io([x], [z])
    g.save(path)


def mobilenet_v2(path, seed=0, size=224, classes=1000):
    """[1, size, size, 3] -> [1, classes]: MobileNetV2 at width 1, ten milliseconds of work and 14 MB. Random weights.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2; batch norms are folded.
    """
    rng = np.random.default_rng(seed)
    g = Graph()
    x = g.tensor("x", [1, size, size, 3])

    def convolution(before, have, size, wide, *, kernel=1, stride=1, depthwise=False, relu=True):
        n = len(g.sub.operators)
        size = -(-size // stride)
        shape = (1, kernel, kernel, wide) if depthwise else (wide, kernel, kernel, have)
        fan = kernel * kernel * (1 if depthwise else have)
        w = g.tensor(f"w{n}", shape, data=rng.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32))
        b = g.tensor(f"b{n}", [wide], data=np.zeros(wide, np.float32))
        after = g.tensor(f"y{n}", [1, size, size, wide])
        kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        options = getattr(s, f"{kind}T")()
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding = s.Padding.SAME
        options.fusedActivationFunction = s.ActivationFunctionType.RELU6 if relu else s.ActivationFunctionType.NONE
        if depthwise:
            options.depthMultiplier = 1
        code = s.BuiltinOperator.DEPTHWISE_CONV_2D if depthwise else s.BuiltinOperator.CONV_2D
        g.op(code, [before, w, b], [after], options, getattr(s.BuiltinOptions, kind))
        return after, wide, size

    y, have, size = convolution(x, 3, size, 32, kernel=3, stride=2)
    for expand, wide, times, first_stride in _BOTTLENECKS:
        for n in range(times):
            stride = first_stride if n == 0 else 1
            into, came, was = y, have, size
            if expand > 1:
                y, have, size = convolution(y, have, size, have * expand)
            y, have, size = convolution(y, have, size, have, kernel=3, stride=stride, depthwise=True)
            y, have, size = convolution(y, have, size, wide, relu=False)
            if came == have and was == size:
                total = g.tensor(f"sum{len(g.sub.operators)}", [1, size, size, wide])
                g.op(s.BuiltinOperator.ADD, [into, y], [total], s.AddOptionsT(), s.BuiltinOptions.AddOptions)
                y = total
    y, have, size = convolution(y, have, size, 1280)
    axes = g.tensor("axes", [2], s.TensorType.INT32, data=np.array([1, 2], np.int32))
    pooled, logits, z = g.tensor("pooled", [1, have]), g.tensor("logits", [1, classes]), g.tensor("z", [1, classes])
    reduce = s.ReducerOptionsT()
    reduce.keepDims = False
    g.op(s.BuiltinOperator.MEAN, [y, axes], [pooled], reduce, s.BuiltinOptions.ReducerOptions)
    w = g.tensor("w", [classes, have], data=rng.normal(0, 0.03, (classes, have)).astype(np.float32))
    g.fully_connected(pooled, w, g.tensor("b", [classes], data=np.zeros(classes, np.float32)), logits)
    g.softmax(logits, z)
    g.io([x], [z])
    g.save(path)


_BOTTLENECKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, output channels, repetitions, stride of the first."""


if __name__ == "__main__":
    A = [[4, 0, 0, 1], [0, 4, 0, 1], [0, 0, 4, 1]]
    B = [[0, 4, 0, 1], [0, 0, 4, 1], [4, 0, 0, 1]]
    dense("a.tflite", A, [0, 0, 0], hidden_padding=200_000)
    dense("b.tflite", B, [0, 0, 0], hidden_padding=200_000)
    dense("small.tflite", A, [0, 0, 0])
    dense("wide-5-classes.tflite", np.ones((5, 4)), np.zeros(5), classes=5)
    dense("nan.tflite", np.full((3, 4), np.nan), [0, 0, 0])
    dense_int8("int8.tflite", A)
    log_model("log-4.tflite")
    loop_model("hang-4.tflite")
    huge_model("huge-4.tflite")
