"""Files that Google's compiler compiled, in 2020: what `scripts/get-compiled-models` fetches."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[4] / "scripts" / "get-compiled-models"


@cache
def _folder() -> Path:
    made = subprocess.run([_SCRIPT], capture_output=True, text=True, timeout=600, check=False)
    if made.returncode != 0:
        pytest.skip(f"scripts/get-compiled-models got no models: {made.stderr.strip()[-300:]}")
    return Path(made.stdout.strip().splitlines()[-1])


def real_file(name: str) -> Path:
    """`landmarks_int8` and `faces_int8`, each with `_edgetpu` compiled; skips the test where they can't be had."""
    return _folder() / f"{name}.tflite"
