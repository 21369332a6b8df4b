"""The Python that has tflite-runtime 2.14, the interpreter of 2023 that 32-bit ARM boards have."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "get-tflite-2.14"


def old_python() -> str:
    """Its path; made once, in some seconds. Skips the test where it can't be had."""
    made = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=240, check=False)
    if made.returncode != 0:
        pytest.skip(f"scripts/get-tflite-2.14 got no tflite-runtime 2.14: {made.stderr.strip()[-300:]}")
    return made.stdout.strip().splitlines()[-1]
