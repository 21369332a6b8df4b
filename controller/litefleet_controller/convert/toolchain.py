"""Which tools make variants, known without importing them: the controller's process must stay small."""

from importlib.metadata import PackageNotFoundError, version

from litefleet_controller.convert.interface import ConversionError

REVISION = "1"
"""Of this package's own part in the outcome: raised when the same inputs and tools give other bytes or numbers."""

_NEEDED = ("keras", "litert-quantizer", "ai-edge-litert", "numpy")
_TENSORFLOW = ("tensorflow-cpu", "tensorflow")
"""The first on x86-64, the second elsewhere; both are the module `tensorflow`."""


def installed_toolchain() -> dict[str, str]:
    """Tool to version.

    Raises:
        ConversionError: `ToolMissing`.
    """
    versions = {name: found for name in _NEEDED if (found := _version(name))}
    tensorflow = next((found for name in _TENSORFLOW if (found := _version(name))), None)
    missing = [name for name in _NEEDED if name not in versions] + ([] if tensorflow else ["tensorflow"])
    if missing or tensorflow is None:
        raise ConversionError(
            "ToolMissing",
            f"this controller can't convert: {', '.join(missing)} isn't installed",
            final=False,
            hint="install litefleet-controller[convert]",
        )
    return {**versions, "tensorflow": tensorflow, "litefleet-convert": REVISION}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
