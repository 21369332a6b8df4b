"""Which version of each operator a `.tflite` file really needs. Runs in workers; no interpreter.

A file says for each of its operators the version that it was written for, and an interpreter refuses one that it
doesn't have. The quantizer changes the types of an operator's tensors and leaves its version as it was for floats. An
old interpreter then loads what it can't compute: tflite-runtime 2.14 knows no FULLY_CONNECTED with a scale for each
channel of its weights and floats beside it, and a digit reader of 98% falls to 9%. So versions are computed here from
types and options, as TensorFlow's converter does (lite/tools/versioning/op_version.cc), and written into the file, so
that whoever loads it knows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from litefleet_controller.convert.tflite.flatbuffer import operator_name, parse, serialize
from litefleet_controller.convert.tflite.precision import has_data, type_name

FLOAT16_CONVOLUTION = "float16-convolution"
"""A convolution reads weights that are stored in float16. See runtimes.yaml for who gets that wrong."""

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_MAX_PLAIN_DIMENSIONS = 4


class Site:
    """One operator where it stands."""

    def __init__(self, graph: Any, operator: Any) -> None:
        self.options = operator.builtinOptions
        self.inputs: list[Any] = [graph.tensors[int(i)] if int(i) >= 0 else None for i in _listed(operator.inputs)]
        self.outputs: list[Any] = [graph.tensors[int(i)] for i in _listed(operator.outputs)]

    def given(self, index: int) -> str:
        """Type of an input; empty when it isn't there."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return type_name(tensor) if tensor is not None else ""

    @property
    def made(self) -> str:
        """Type of the first output."""
        return type_name(self.outputs[0]) if self.outputs else ""

    def dimensions(self, index: int = 0) -> int:
        """How many an input has."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return len(tensor.shape) if tensor is not None and tensor.shape is not None else 0

    def scales(self, tensor: Any) -> list[float]:
        """Scales of a tensor: none, one, or one for each channel."""
        quantization = tensor.quantization if tensor is not None else None
        return [] if quantization is None or quantization.scale is None else [float(s) for s in quantization.scale]

    def has_channel_scales(self, index: int) -> bool:
        """Whether an input has a scale for each channel."""
        return index < len(self.inputs) and len(self.scales(self.inputs[index])) > 1

    def option(self, name: str) -> Any:
        """An option of the operator, or None."""
        return getattr(self.options, name, None)

    @property
    def is_hybrid(self) -> bool:
        """Whether floats are multiplied with int8 weights: what a dynamic range is."""
        return (self.given(0), self.given(1), self.made) == ("float32", "int8", "float32")


def needed_versions(model: Any) -> dict[str, int]:
    """Operator to the highest version that it is written for or needs, over all graphs."""
    versions: dict[str, int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = operator_name(model, operator)
            declared = int(model.operatorCodes[operator.opcodeIndex].version)
            versions[name] = max(versions.get(name, 1), declared, _needed(name, Site(graph, operator)))
    return dict(sorted(versions.items()))


def with_needed_versions(data: bytes) -> bytes:
    """The same model, in which no operator says a lower version than it needs."""
    model = parse(data)
    return serialize(model) if raise_versions(model) else data


def raise_versions(model: Any) -> bool:
    """Have no operator of `model`, a schema.ModelT, say a lower version than it needs; whether one did."""
    is_changed = False
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            code = model.operatorCodes[operator.opcodeIndex]
            if (needed := _needed(operator_name(model, operator), Site(graph, operator))) > code.version:
                code.version, is_changed = needed, True
    return is_changed


def traits(model: Any) -> tuple[str, ...]:
    """What the model has that versions don't tell, and that some release of an interpreter gets wrong."""
    for graph in model.subgraphs:
        named = [(operator_name(model, operator), operator) for operator in graph.operators or ()]
        halves = {
            int(o.outputs[0]) for name, o in named if name == "DEQUANTIZE" and _is_half(model, graph, o.inputs[0])
        }
        if any(name in _CONVOLUTIONS and int(o.inputs[1]) in halves for name, o in named):
            return (FLOAT16_CONVOLUTION,)
    return ()


def _is_half(model: Any, graph: Any, index: Any) -> bool:
    tensor = graph.tensors[int(index)]
    return type_name(tensor) == "float16" and has_data(model, tensor)


def _listed(indices: Any) -> Any:
    return () if indices is None else indices


def _needed(name: str, site: Site) -> int:
    """The version from types and options; 1 where nothing speaks for a higher one."""
    rule = _RULES.get(name)
    by_type = _FIRST_INPUT.get(name, {}).get(site.given(_DECIDING_INPUT.get(name, 0)), 1)
    return max(by_type, rule(site) if rule is not None else 1)


def _conv(site: Site) -> int:
    grouped = 1
    if site.dimensions(0) == site.dimensions(1) == 4 and site.inputs[0].shape[3] != site.inputs[1].shape[3]:
        grouped = 6
    if site.is_hybrid:
        return max(grouped, 5 if site.has_channel_scales(1) else 2)
    return max(grouped, _integer(site, {"int8": 3, "int4": 7, "int16": 8 if _has_bias_type(site) else 4}))


def _depthwise(site: Site) -> int:
    if site.is_hybrid:
        return 6 if site.has_channel_scales(1) else 4
    dilated = any(site.option(f"dilation{side}Factor") not in (None, 1) for side in "WH")
    return max(2 if dilated else 1, _integer(site, {"int8": 3, "int4": 7, "int16": 5}))


def _dense(site: Site) -> int:
    least = 1
    if site.option("weightsFormat"):  # shuffled
        least = 2
    if site.option("keepNumDims"):
        least = 5
    if len(site.inputs) == 2:  # without a bias
        least = 6
    if site.inputs[1] is not None and site.inputs[1].sparsity is not None:
        least = 8
    if site.is_hybrid:
        if site.has_channel_scales(1):
            return 12
        return max(least, 9 if site.option("asymmetricQuantizeInputs") else 3)
    int16 = {"int16": 11 if _has_bias_type(site) else 7, "int4": 13}
    return max(least, _integer(site, int16 if site.given(0) == "int16" else {"int8": 4, "int4": 10}))


def _integer(site: Site, versions: Mapping[str, int]) -> int:
    """A whole integer kernel: told apart by its activations when those are int16, else by its weights."""
    if site.given(0) not in ("int8", "int16") or site.given(0) != site.made:
        return 1
    if site.given(1) == "int4":
        return versions.get("int4", 1)
    return versions.get(site.given(0), 1)


def _has_bias_type(site: Site) -> bool:
    return bool(site.option("quantizedBiasType"))


def _transpose_conv(site: Site) -> int:
    if site.given(2) == "int16" and _has_bias_type(site):
        return 5
    if site.option("fusedActivationFunction"):
        return 4
    if len(site.inputs) == 4 and site.inputs[3] is not None:
        return 3
    return 2 if site.given(1) == "int8" else 1


def _dequantize(site: Site) -> int:
    given = site.given(0)
    if given == "int8":
        return 5 if site.has_channel_scales(0) else 2
    return {"int4": 6, "int16": 3, "float16": 3}.get(given, 1)


def _quantize(site: Site) -> int:
    if "int4" in (site.given(0), site.made):
        return 4
    if len(site.scales(site.outputs[0])) > 1:
        return 3
    return 2 if site.made == "int16" else 1


def _embedding(site: Site) -> int:
    return 4 if site.given(1) == "int4" or site.has_channel_scales(1) else 1


def _multiply(site: Site) -> int:
    """Version 3: the rescaling may enlarge."""
    scales = [site.scales(t) for t in (*site.inputs[:2], *site.outputs[:1])]
    if site.given(0) != "int8" or not all(scales):
        return 1
    first, second, out = (s[0] for s in scales)
    return 3 if out and first * second / out >= 1 else 2


def _plain_sum(site: Site) -> int:
    """ADD: int16 without a scale came later than int16 with one."""
    return 5 if site.given(0) == "int16" and not site.scales(site.inputs[0]) else 1


def _matrices(site: Site) -> int:
    return 4 if site.is_hybrid and site.option("asymmetricQuantizeInputs") else 1


def _resize(site: Site) -> int:
    return 3 if site.option("halfPixelCenters") else 1


def _nearest(site: Site) -> int:
    return 3 if site.option("halfPixelCenters") or site.option("alignCorners") else 1


def _above(version: int) -> Callable[[Site], int]:
    """More than four dimensions came with `version`."""
    return lambda site: version if site.dimensions() > _MAX_PLAIN_DIMENSIONS else 1


def _transpose(site: Site) -> int:
    return {0: 1, 1: 4}.get(max(site.dimensions() - _MAX_PLAIN_DIMENSIONS, 0), 6)


def _slice(site: Site) -> int:
    if site.option("offset"):
        return 8
    if site.option("ellipsisMask") or site.option("newAxisMask"):
        return 6
    return 4 if site.dimensions() > _MAX_PLAIN_DIMENSIONS else 1


_RULES: Mapping[str, Callable[[Site], int]] = {
    "ADD": _plain_sum,
    "BATCH_MATMUL": _matrices,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "EMBEDDING_LOOKUP": _embedding,
    "FULLY_CONNECTED": _dense,
    "MUL": _multiply,
    "PAD": _above(4),
    "PADV2": _above(4),
    "QUANTIZE": _quantize,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "SLICE": _above(5),
    "STRIDED_SLICE": _slice,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
}

_DECIDING_INPUT: Mapping[str, int] = {"SPLIT": 1}
"""Where it isn't the first: what stands there is an axis."""

_EIGHT = {"int8": 2}
_BOTH = {"int8": 2, "int16": 3}
_TOGETHER = {"int8": 2, "int16": 2}
_LATER = {"int8": 2, "int16": 4}
_FIRST_INPUT: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(
        ("ARG_MAX", "ARG_MIN", "DEPTH_TO_SPACE", "GELU", "GREATER", "L2_NORMALIZATION", "LESS_EQUAL", "LOG_SOFTMAX",
         "NOT_EQUAL", "SELECT", "SPACE_TO_DEPTH", "SPLIT_V", "SQUARED_DIFFERENCE", "SUM"), _EIGHT,
    ),
    **dict.fromkeys(
        ("AVERAGE_POOL_2D", "CONCATENATION", "GREATER_EQUAL", "LESS", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MIRROR_PAD",
         "PACK", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RSQRT", "SOFTMAX", "TANH", "TOPK_V2"),
        _BOTH,
    ),
    **dict.fromkeys(("EXP", "FLOOR_MOD", "LOG", "REDUCE_PROD"), _TOGETHER),
    **dict.fromkeys(
        ("BATCH_TO_SPACE_ND", "EQUAL", "MAXIMUM", "MINIMUM", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
         "SPACE_TO_BATCH_ND"), _LATER,
    ),
    "ABS": {"int8": 2, "int16": 3, "int32": 5},
    "ADD": {"int8": 2, "int16": 3, "int64": 4},
    "BATCH_MATMUL": _BOTH,
    "BROADCAST_TO": {"float32": 2, "int8": 3, "int16": 3},
    "FLOOR_DIV": {"float32": 2, "int8": 3, "int16": 3},
    "GATHER": {"int8": 2, "bool": 3, "int16": 4, "int4": 7},
    "GATHER_ND": {"int16": 3},
    "LEAKY_RELU": {"int16": 2},
    "MUL": {"int8": 2, "int16": 4, "int64": 5},
    "REVERSE_V2": {"bool": 2, "int8": 3},
    "SPLIT": {"int8": 2, "int32": 3, "int16": 4},
    "STRIDED_SLICE": {"int8": 2, "bool": 3},
    "SUB": {"int8": 2, "int64": 4, "int16": 5},
    "TILE": {"int8": 3},
    "TRANSPOSE": {"int8": 2, "bool": 3, "int16": 5},
    "UNPACK": {"int8": 2, "bool": 3, "int16": 4},
}  # fmt: skip
"""Operator to the version that a type of its first input takes."""
