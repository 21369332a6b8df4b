"""Boards that infer on their processor: Raspberry Pi, ARM and x86 gateways. Nothing is needed beyond the converter."""

from collections.abc import Sequence

from litefleet_controller.convert.targets.interface import Standing, TargetName, Tools
from litefleet_controller.convert.targets.tools import Packages

_CONVERTER = Packages(("litert-quantizer", "ai-edge-litert"), "convert", "float32")


class Cpu:
    """Implements `interface.Target`."""

    name: TargetName = "cpu"
    boards = "Raspberry Pi, ARM and x86 boards"

    def standings(self, tools: Tools) -> Sequence[Standing]:
        """See Target."""
        return [_CONVERTER.standing(self.name, ".tflite of every recipe, proven by running it", tools)]
