"""Compiles the shim and the launcher; both are small, so that is done anew for every run."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Built:
    shim: Path
    launcher: Path


def build(folder: Path) -> Built:
    """Needs a C compiler; `CC` names another one than `cc`."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise RuntimeError(f"killing agents needs a C compiler, and {compiler!r} is none here: install gcc, or set CC")
    built = Built(folder / "shim.so", folder / "launcher")
    _compile(compiler, "-shared", "-fPIC", "-o", str(built.shim), str(_HERE / "shim.c"), "-ldl", "-lpthread")
    _compile(compiler, "-o", str(built.launcher), str(_HERE / "launcher.c"))
    return built


def _compile(*command: str) -> None:
    # A fortified C library wraps the very functions that the shim defines.
    subprocess.run([command[0], "-O1", "-Wall", "-Wextra", "-U_FORTIFY_SOURCE", *command[1:]], check=True)
