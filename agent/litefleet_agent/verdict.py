"""What a trial and its child (`check`) agree on: the limits, the verdict, and the words on the channel between them."""

import struct

from msgspec import Struct

from litefleet_protocol.tensors import Signature

RUN = b"R"
DONE = b"D"
TOOK = struct.Struct("<d")
"""Seconds."""


class TrialLimits(Struct, frozen=True):
    """What a model on trial may cost."""

    seconds: float
    """For the check: loading, and all golden samples."""
    memory_bytes: int
    """Address space of the child."""
    threads: int = 1
    accelerator: str = ""
    """What the engine computes on; the processor when empty."""
    hang_seconds: float = 30.0
    """The longest that a live inference may take, however slow the golden samples were."""


class Verdict(Struct, frozen=True):
    """How it went; an empty code is good."""

    code: str = ""
    message: str = ""
    samples: int = 0
    worst: float = 0.0
    """Largest absolute difference from a golden output."""
    slowest_s: float = 0.0
    """The longest inference."""
    signature: Signature | None = None
    """As the model itself has it, quantization included, when it is good."""
