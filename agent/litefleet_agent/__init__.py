"""The program on each board: follows a signed desired state and swaps models without losing an inference.

It never needs the controller, tensorflow, or anything that a small board can't afford. Start reading at `core` (what
is decided) and `agent` (how it is carried out).
"""

__version__ = "0.1.0"
