"""Accelerators that one process at a time may open. Imports no engine.

An Edge TPU belongs to the process that opened it, which may run several models on it (Coral's documentation). A model
for it can't be tried in a child process, then, while the agent serves another one; nor may a probe open it when the
agent is about to.
"""

import mmap
from pathlib import Path

from litefleet_protocol.runtimes import RuntimeName

EDGE_TPU = "edgetpu"
EDGE_TPU_OPERATOR = b"edgetpu-custom-op"
"""What stands in a file that was compiled for it."""


def is_exclusive(runtime: str, path: Path, accelerator: str) -> bool:
    """Whether running the model file `path` opens such an accelerator. `accelerator` is the configured one.

    Raises:
        OSError: the file can't be read.
    """
    if runtime != RuntimeName.LITERT:
        return False
    if accelerator == EDGE_TPU:
        return True
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(EDGE_TPU_OPERATOR) >= 0
