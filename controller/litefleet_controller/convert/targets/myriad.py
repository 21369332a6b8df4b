"""Intel's Movidius Myriad X: OpenVINO's format in float16, checked on OpenVINO's plugin for CPUs.

No OpenVINO of today has the MYRIAD plugin. The last ones that do are the Python package 2021.4.2 and Intel's archive
2022.3.1 (https://github.com/openvinotoolkit/openvino/issues/19950). What today's OpenVINO writes is IR version 11,
which the archive reads and 2021.4.2 doesn't (https://github.com/openvinotoolkit/openvino/issues/29324).
"""

from collections.abc import Sequence

from litefleet_controller.convert.targets.interface import Standing, TargetName, Tools
from litefleet_controller.convert.targets.tools import Packages

_OPENVINO = Packages(("openvino",), "convert-openvino", "openvino-float16")
_SETTING = "LITEFLEET_MYRIAD_COMPILER"
_ARCHIVE = "OpenVINO 2022.3.1, https://storage.openvinotoolkit.org/repositories/openvino/packages/2022.3.1/"
_BLOB = ".blob, compiled for the stick"


class Myriad:
    """Implements `interface.Target`."""

    name: TargetName = "myriad"
    boards = "Movidius Myriad X, Neural Compute Stick 2"

    def standings(self, tools: Tools) -> Sequence[Standing]:
        """See Target."""
        ir = "OpenVINO IR in float16, checked on the CPU and never on a stick"
        return [_OPENVINO.standing(self.name, ir, tools), _blob(tools)]


def _blob(tools: Tools) -> Standing:
    """Never Available: no version of ours runs the tool, and OpenVINO on the board compiles the IR as it loads it."""
    found = tools.program(_SETTING, "compile_tool", "myriad_compile")
    if found is None:
        how = f"unpack {_ARCHIVE} and name its compile_tool in {_SETTING}; openvino and openvino-dev on PyPI lack it"
        return Standing("myriad", _BLOB, "Missing", "compile_tool or myriad_compile", how)
    how = f"this version doesn't run it: by hand, {found.name} -m model.xml -d MYRIAD -o model.blob"
    return Standing("myriad", _BLOB, "Missing", str(found), how)
