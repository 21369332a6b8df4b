"""NVIDIA's Jetson boards: float16 for LiteRT's GPU delegate, ONNX for onnxruntime, and TensorRT on the board alone.

A TensorRT engine holds for the GPU and the TensorRT version that built it (NVIDIA's TensorRT developer guide, "Version
Compatibility" and "Hardware Compatibility"). So none is ever made here or sent from board to board.
"""

from collections.abc import Sequence

from litefleet_controller.convert.targets.interface import Standing, TargetName, Tools
from litefleet_controller.convert.targets.tools import Packages

_CONVERTER = Packages(("litert-quantizer", "ai-edge-litert"), "convert", "float16")
_ONNX = Packages(("tf2onnx", "onnxruntime"), "convert-onnx", "onnx-float32")
AGENT_PYTHON = "3.11"
"""The oldest Python that the agent runs on: `requires-python` of litefleet-agent."""
_ENGINE = (
    "build it on each board from the ONNX file: trtexec --onnx=model.onnx --fp16 --saveEngine=model.engine; it holds "
    "for that board's GPU and TensorRT alone. The agent doesn't run engines: it needs Python "
    f"{AGENT_PYTHON}, and NVIDIA's TensorRT for Python comes with the system's, 3.6 in JetPack 4 and 3.8 in JetPack 5"
)


class Jetson:
    """Implements `interface.Target`."""

    name: TargetName = "gpu"
    boards = "Jetson Nano, Jetson Orin Nano"

    def standings(self, tools: Tools) -> Sequence[Standing]:
        """See Target."""
        return [
            _CONVERTER.standing(self.name, "float16 .tflite for LiteRT's GPU delegate, checked on the CPU", tools),
            _ONNX.standing(self.name, "ONNX, checked with onnxruntime on the CPU", tools),
            Standing(self.name, "TensorRT engine", "DeviceSide", "trtexec", _ENGINE),
        ]
