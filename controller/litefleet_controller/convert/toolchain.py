"""Which tools make variants, known without importing them: the controller's process must stay small."""

import platform
from collections.abc import Mapping

from litefleet_controller.convert.distributions import installed_version
from litefleet_controller.convert.interface import ConversionError, SourceFormat
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Engine

REVISION = "3"
"""Of this package's own part in the outcome: raised when the same inputs and tools give other bytes or numbers."""

_NEEDED = ("litert-quantizer", "ai-edge-litert", "numpy")
_TENSORFLOW = ("tensorflow-cpu", "tensorflow")
"""The first on x86-64, the second elsewhere; both are the module `tensorflow`."""


_ENGINES: Mapping[Engine, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "litert": ("convert", {}),
    "openvino": ("convert-openvino", {"openvino": ("openvino",)}),
    "onnxruntime": (
        "convert,convert-onnx",
        {
            "tf2onnx": ("tf2onnx",),
            "onnx": ("onnx",),
            "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
            "tensorflow": _TENSORFLOW,
        },
    ),
}
"""The extra that brings what an engine's recipes need beside the tools that freeze, and that."""


def installed_toolchain(source_format: SourceFormat) -> dict[str, str]:
    """Tool to version, of what a source of a format goes through: a `.tflite` file needs no tensorflow.

    Raises:
        ConversionError: `ToolMissing`.
    """
    needed: dict[str, tuple[str, ...]] = {name: (name,) for name in _NEEDED}
    if source_format != "tflite":
        needed |= {"keras": ("keras",), "tensorflow": _TENSORFLOW}
    versions, missing = _versions(needed)
    if missing:
        raise ConversionError(
            "ToolMissing",
            f"this controller can't convert: {', '.join(missing)} isn't installed",
            final=False,
            hint="install litefleet-controller[convert]",
        )
    return versions | {"litefleet-convert": REVISION}


def decoding_toolchain() -> dict[str, str]:
    """Tool to version, of what makes arrays of images.

    Raises:
        ConversionError: `ToolMissing`.
    """
    versions, missing = _versions({name: (name,) for name in ("pillow", "numpy")})
    if missing:
        raise ConversionError(
            "ToolMissing",
            f"this controller can't decode images: {', '.join(missing)} isn't installed",
            final=False,
            hint="install litefleet-controller[convert]",
        )
    return versions | {"litefleet-convert": REVISION}


def engine_toolchain(engine: Engine) -> dict[str, str]:
    """Tool to version, of what makes and proves an engine's variants beside the tools that froze the source.

    Raises:
        RungError: `ToolMissing`; rungs for other engines can be made all the same.
    """
    extra, needed = _ENGINES[engine]
    versions, missing = _versions(needed)
    if missing:
        raise RungError(
            "ToolMissing",
            f"this controller makes nothing for {engine}: {', '.join(missing)} isn't installed; "
            f"install litefleet-controller[{extra}]",
        )
    return versions


def own_versions() -> dict[str, str]:
    """Of litefleet itself and Python: they decide nothing that REVISION doesn't, and are recorded all the same."""
    return {"litefleet": _version("litefleet-controller") or "unknown", "python": platform.python_version()}


def _versions(needed: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, str], list[str]]:
    """What is there, and the names of what isn't."""
    found = {name: next(filter(None, map(_version, names)), None) for name, names in needed.items()}
    return {name: v for name, v in found.items() if v}, [name for name, v in found.items() if v is None]


def _version(distribution: str) -> str | None:
    return installed_version(distribution)
