"""Which tools make variants, known without importing them: the controller's process must stay small."""

from importlib.metadata import PackageNotFoundError, version

from litefleet_controller.convert.interface import ConversionError, SourceFormat

REVISION = "2"
"""Of this package's own part in the outcome: raised when the same inputs and tools give other bytes or numbers."""

_NEEDED = ("litert-quantizer", "ai-edge-litert", "numpy")
_TENSORFLOW = ("tensorflow-cpu", "tensorflow")
"""The first on x86-64, the second elsewhere; both are the module `tensorflow`."""


def installed_toolchain(source_format: SourceFormat) -> dict[str, str]:
    """Tool to version, of what a source of a format goes through: a `.tflite` file needs no tensorflow.

    Raises:
        ConversionError: `ToolMissing`.
    """
    needed: dict[str, tuple[str, ...]] = {name: (name,) for name in _NEEDED}
    if source_format != "tflite":
        needed |= {"keras": ("keras",), "tensorflow": _TENSORFLOW}
    versions = {name: next(filter(None, map(_version, names)), None) for name, names in needed.items()}
    if missing := [name for name, found in versions.items() if found is None]:
        raise ConversionError(
            "ToolMissing",
            f"this controller can't convert: {', '.join(missing)} isn't installed",
            final=False,
            hint="install litefleet-controller[convert]",
        )
    return {name: found for name, found in versions.items() if found} | {"litefleet-convert": REVISION}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
