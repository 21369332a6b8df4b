"""Coral's Edge TPU: int8 files, and the compiler that gives their operators to the TPU.

The compiler is Google's, closed, and for x86-64 Debian alone. Without it boards get the int8 file as it is, which
LiteRT runs on their processor; the status says so, with what the TPU would run.
"""

from collections.abc import Sequence
from pathlib import Path

from litefleet_controller.convert.targets.interface import Standing, TargetName, Tools
from litefleet_controller.convert.targets.tools import Packages

_CONVERTER = Packages(("litert-quantizer", "ai-edge-litert"), "convert", "int8")
COMPILED = "_edgetpu.tflite, compiled for the TPU"
_SETTING = "LITEFLEET_EDGETPU_COMPILER"
_MADE_FOR = "linux x86_64"
_INSTALL = (
    "add the Debian repository https://packages.cloud.google.com/apt (suite coral-edgetpu-stable, component main) and "
    f"'apt-get install edgetpu-compiler', or name the program in {_SETTING}"
)
_ELSEWHERE = "Google makes it for x86-64 Debian only, not for {}: run the controller on such a machine, and there {}"


def compiler(tools: Tools) -> Path | None:
    """The Edge TPU compiler, when it is installed."""
    return tools.program(_SETTING, "edgetpu_compiler")


class EdgeTpu:
    """Implements `interface.Target`."""

    name: TargetName = "edgetpu"
    boards = "Coral Dev Board, Coral USB and M.2 accelerators"

    def standings(self, tools: Tools) -> Sequence[Standing]:
        """See Target."""
        foretold = "int8 .tflite, with what the TPU would run foretold"
        return [_CONVERTER.standing(self.name, foretold, tools), compiled(tools)]


def compiled(tools: Tools) -> Standing:
    """Whether files can be compiled for the TPU here."""
    found = compiler(tools)
    if found is not None:
        return Standing("edgetpu", COMPILED, "Available", str(found))
    how = _INSTALL if tools.machine == _MADE_FOR else _ELSEWHERE.format(tools.machine, _INSTALL)
    return Standing("edgetpu", COMPILED, "Missing", "edgetpu_compiler", how)
