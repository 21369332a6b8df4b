"""Which TensorFlow operators a SavedModel may hold: a graph is a program, and this one came from somebody else.

A list of what is allowed, since a list of what isn't is never complete: besides the obvious ReadFile, operators such as
ImmutableConst, FixedUnigramCandidateSampler, PrintV2 or DebugIdentity open files, too, and TensorFlow runs those with
constant inputs while it merely *loads* a graph. Allowed is what computes tensors from tensors, reads and writes
variables, calls functions, or draws random numbers; much of that LiteRT doesn't have, but then the converter says so.
Pure; no tensorflow.
"""

import re

_ARITHMETIC = """
Abs Acos Acosh Add AddN AddV2 AccumulateNV2 Asin Asinh Atan Atan2 Atanh BitwiseAnd BitwiseOr BitwiseXor Cast Ceil
ClipByValue Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Digamma Div DivNoNan Erf Erfc Erfinv Exp Expm1 Floor
FloorDiv FloorMod Inv Invert IsFinite IsInf IsNan LeftShift Lgamma Log Log1p Maximum Minimum Mod Mul MulNoNan Neg
NextAfter Pow RealDiv Reciprocal RightShift Rint Round Rsqrt Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan
TruncateDiv TruncateMod Xdivy Xlog1py Xlogy ApproximateEqual Equal Greater GreaterEqual Less LessEqual LogicalAnd
LogicalNot LogicalOr NotEqual All Any ArgMax ArgMin Bincount DenseBincount EuclideanNorm InTopK InTopKV2 L2Loss Max Mean
Min Prod SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Sum TopK TopKV2 UnsortedSegmentMax UnsortedSegmentMin
UnsortedSegmentProd UnsortedSegmentSum Angle Complex ComplexAbs Conj Imag Real FFT FFT2D IFFT IFFT2D IRFFT IRFFT2D RFFT
RFFT2D
"""
_LAYERS = """
AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BiasAdd BiasAddV1 Conv2D
Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 CropAndResize DataFormatDimMap DataFormatVecPermute DepthToSpace
DepthwiseConv2dNative Dilation2D Einsum Elu ExtractImagePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN LeakyRelu LogSoftmax MatMul
MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Relu Relu6 ResizeArea ResizeBicubic
ResizeBilinear ResizeNearestNeighbor Selu Sigmoid Softmax Softplus Softsign SpaceToDepth Tanh AdjustContrastv2 AdjustHue
AdjustSaturation HSVToRGB RGBToHSV ImageProjectiveTransformV2 ImageProjectiveTransformV3
"""
_SHAPES = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo CheckNumerics CheckNumericsV2 Concat
ConcatV2 Const Diag DiagPart DynamicPartition DynamicStitch Empty EnsureShape ExpandDims Fill Gather GatherNd GatherV2
GuaranteeConst Identity IdentityN InvertPermutation LinSpace ListDiff MatrixBandPart MatrixDiag MatrixDiagPart
MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad
OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient
Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Select SelectV2 Shape ShapeN Size Slice SpaceToBatch
SpaceToBatchND SparseToDense Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax
TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose Unique UniqueV2 Unpack
UnravelIndex Where ZerosLike
"""
_PROGRAM = """
_Arg _Retval Assert Case DeleteSessionTensor Enter Exit If LoopCond Merge NextIteration NoOp PartitionedCall
StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch SymbolicGradient While EmptyTensorList
TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListStack
AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead ReadVariableOp
ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate VarHandleOp VarIsInitializedOp VariableShape
"""
_RANDOM = """
Multinomial RandomGamma RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt StatefulStandardNormalV2
StatefulTruncatedNormal StatefulUniform StatelessMultinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
StatelessRandomUniformV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessTruncatedNormal
StatelessTruncatedNormalV2 TruncatedNormal RngReadAndSkip RngSkip
"""
_GRADIENTS = """
AvgPoolGrad BiasAddGrad Conv2DBackpropFilter DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput
EluGrad FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 LeakyReluGrad MaxPoolGrad MaxPoolGradV2
MirrorPadGrad Relu6Grad ReluGrad ResizeBilinearGrad RsqrtGrad SeluGrad SigmoidGrad SoftmaxCrossEntropyWithLogits
SoftplusGrad SparseSoftmaxCrossEntropyWithLogits SqrtGrad StridedSliceGrad TanhGrad
"""
_SAVER = """
MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch StringJoin
"""
"""What every SavedModel has in the functions that save and restore its variables. Nothing that converts calls those:
see loading.py, which looks once more at what the signature itself reaches."""

SAVER = frozenset(_SAVER.split())
COMPUTING = frozenset((_ARITHMETIC + _LAYERS + _SHAPES + _PROGRAM + _RANDOM + _GRADIENTS).split())

_REACHES_OUT = re.compile(
    r"File|PyFunc|Reader|Dataset|Iterator|Summary|Debug|Print|Rpc|Remote|Send|Recv|Collective|Checkpoint|^Save|^Restore"
    r"|Bigtable|Gcs|Dump|TPU|Xla|HashTable|LookupTable|InitializeTable|Infeed|Outfeed|Event|Abort|ImmutableConst"
    r"|Vocab|LoadAndRemap|UnigramCandidateSampler|RecordInput|Distributed|Library|Queue|Nccl"
)
"""Operators by whose names one sees that they touch files, the network, the process or state outside the graph."""


def unsafe(op: str) -> bool:
    """Whether an operator that isn't allowed is known to do more than compute; else it is merely unknown."""
    return _REACHES_OUT.search(op) is not None
