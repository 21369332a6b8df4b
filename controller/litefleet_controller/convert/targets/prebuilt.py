"""What was found in a file that was compiled elsewhere, as values. Said by a worker; imports msgspec only."""

from msgspec import Struct

NAMED = "the file of spec.prebuilt.edgetpu"
SAME_MODEL = "compile the model that spec.source names, or name the source that this file was compiled from"
INSTEAD = "; without spec.prebuilt.edgetpu these boards get what is made of the source here"
"""For refusals: what it is called, and what to do."""


class Findings(Struct, frozen=True, kw_only=True):
    """What a compiled file says of itself. Nothing here can run it."""

    programs: int
    """Operators for the accelerator."""
    program_bytes: int
    """Bytes of what these hold."""
    file_bytes: int
    left: dict[str, int]
    """Operators that stay on the processor, and how often."""
    compiler: str
    """Its version; empty when the file doesn't name it."""
    runtime_version: int
    """The oldest runtime of the accelerator that takes the file."""
    expectation: str
    """How far from the source's answers a board's may be, and why so far: half a sentence."""
