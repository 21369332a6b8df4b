"""All targets, in the order in which people are shown them."""

from collections.abc import Sequence

from litefleet_controller.convert.targets.cpu import Cpu
from litefleet_controller.convert.targets.edgetpu import EdgeTpu
from litefleet_controller.convert.targets.interface import Standing, Target, Tools
from litefleet_controller.convert.targets.jetson import Jetson
from litefleet_controller.convert.targets.myriad import Myriad

TARGETS: Sequence[Target] = (Cpu(), EdgeTpu(), Myriad(), Jetson())


def standings(tools: Tools) -> list[Standing]:
    """What can be made on a machine with `tools`, and what can't."""
    return [standing for target in TARGETS for standing in target.standings(tools)]
