"""The engines that run models on boards, by the names that manifests and messages use, and the files each one reads.

A converter makes these files, a board opens them: both sides take the names from here.
"""

from collections.abc import Mapping
from enum import StrEnum


class RuntimeName(StrEnum):
    """An engine."""

    LITERT = "litert"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


GOLDEN_FILE = "golden.npz"
"""Beside the model's files in every artifact: an .npz of inputs and the outputs that were right for them.

`x0`.. float32 inputs after pre-processing, `y0`.. dequantized float32 outputs, both with a leading axis of samples in
place of the batch of 1. Of large outputs only some numbers: then `i0`.. int32 has their places in the flattened output,
and `y0`.. is (samples, places).
"""

MODEL_FILES: Mapping[str, tuple[str, ...]] = {
    RuntimeName.LITERT: ("model.tflite",),
    RuntimeName.OPENVINO: ("model.xml", "model.bin"),
    RuntimeName.ONNXRUNTIME: ("model.onnx",),
}
"""What a variant consists of. The first file is the one that the engine is given; it finds the others beside it."""
