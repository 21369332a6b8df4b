"""Which engines a board has, told by looking for them: imports none of them, and costs the agent's start nothing.

An engine that isn't there, or doesn't load, must cost neither the others nor the agent anything. Whether one that is
installed works, and on what, its probe says (`probing`).
"""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence

from msgspec import Struct

from litefleet_agent.errors import AgentError
from litefleet_protocol.codes import Code
from litefleet_protocol.runtimes import RuntimeName


class Engine(Struct, frozen=True):
    """Where an engine comes from."""

    title: str
    modules: tuple[str, ...]
    """Any of them will do; the first is preferred."""
    distributions: tuple[str, ...]
    """What brings the modules, as folders in site-packages are named."""
    get: str
    """What to install."""


ENGINES: Mapping[str, Engine] = {
    RuntimeName.LITERT: Engine(
        "LiteRT",
        ("ai_edge_litert", "tflite_runtime"),
        ("ai_edge_litert", "tflite_runtime"),
        "pip install ai-edge-litert; for 32-bit ARM: pip install tflite-runtime 'numpy<2'",
    ),
    RuntimeName.OPENVINO: Engine(
        "OpenVINO",
        ("openvino",),
        ("openvino",),
        "pip install 'litefleet-agent[openvino]'",
    ),
    RuntimeName.ONNXRUNTIME: Engine(
        "ONNX Runtime",
        ("onnxruntime",),
        ("onnxruntime", "onnxruntime_gpu", "onnxruntime_openvino"),
        "pip install 'litefleet-agent[onnx]'; where the board's maker has a build of its own, install that",
    ),
}
_METADATA = re.compile(r"([A-Za-z0-9_.]+)-([0-9][^-]*)\.dist-info")


def is_installed(name: str) -> bool:
    """Whether an engine of ENGINES is there."""
    return any(importlib.util.find_spec(module) is not None for module in ENGINES[name].modules)


def check_installed(name: str) -> None:
    """Whether this board could run artifacts of an engine.

    Raises:
        AgentError: `RuntimeMissing`, with what to install.
    """
    engine = ENGINES.get(name)
    if engine is None:
        known = ", ".join(ENGINES)
        raise AgentError(
            Code.RUNTIME_MISSING, f"an artifact for the runtime {name[:40]!r}; this agent knows {known}: update it"
        )
    importlib.invalidate_caches()  # it may have been installed since the last look
    if not is_installed(name):
        raise AgentError(
            Code.RUNTIME_MISSING,
            f"an artifact for {name}, and {engine.title} is not installed on this board: {engine.get}; then retry",
        )


def versions(path: Sequence[str] | None = None) -> dict[str, str]:
    """Engine to release of those that are installed, by the names of their metadata's folders on `path` (sys.path).

    `importlib.metadata` knows it too, and takes twenty times as long to import.
    """
    by_distribution: dict[str, str] = {}
    for folder in sys.path if path is None else path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - pathlib takes several times as long
        except OSError:
            continue
        for name in names:
            if found := _METADATA.fullmatch(name):
                by_distribution.setdefault(found[1].lower(), found[2])
    known = {}
    for name, engine in ENGINES.items():
        for distribution in engine.distributions:
            if distribution in by_distribution:
                # Its numbers overlap with those of the distribution that came after it.
                prefix = "tflite-runtime " if distribution == "tflite_runtime" else ""
                known[str(name)] = prefix + by_distribution[distribution]
                break
    return known
