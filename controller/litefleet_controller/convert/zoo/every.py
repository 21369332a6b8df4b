"""All architectures. Adding one is adding a file and a line here."""

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.zoo import (
    efficientnet_b0,
    efficientnet_lite0,
    mobilenet_v2,
    mobilenet_v3_small,
    shufflenet_v2,
    squeezenet,
)
from litefleet_controller.convert.zoo.interface import Architecture

ARCHITECTURES: tuple[Architecture, ...] = (
    mobilenet_v2.ARCHITECTURE,
    mobilenet_v3_small.ARCHITECTURE,
    squeezenet.ARCHITECTURE,
    shufflenet_v2.ARCHITECTURE,
    efficientnet_b0.ARCHITECTURE,
    efficientnet_lite0.ARCHITECTURE,
)


def architecture(name: str) -> Architecture:
    """The one with this name.

    Raises:
        ConversionError: final; `InvalidArgument`, with the names there are.
    """
    for candidate in ARCHITECTURES:
        if candidate.name == name:
            return candidate
    names = ", ".join(a.name for a in ARCHITECTURES)
    raise ConversionError("InvalidArgument", f"there is no architecture {name!r}; there are {names}", final=True)
