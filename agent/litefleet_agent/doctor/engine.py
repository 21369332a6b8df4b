"""The engine that runs models: that it loads on this processor, and which one it is.

A wheel that was built for a newer processor kills whoever imports it, so a child does.
"""

import ctypes.util
import subprocess
import sys

from litefleet_agent.doctor.finding import Finding, fail, ok
from litefleet_agent.doctor.patient import Patient

_IMPORT = "from litefleet_agent.runtime.litert import VERSION; print(VERSION)"
TIMEOUT_S = 60.0
"""A slow board takes seconds to load it."""


def engine(_patient: Patient) -> list[Finding]:
    """LiteRT."""
    todo = "reinstall ai-edge-litert for this processor and this Python"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as e:
        return [fail("runtime", f"LiteRT didn't load: {e}", todo)]
    if done.returncode < 0:
        return [fail("runtime", f"LiteRT kills the process that loads it (signal {-done.returncode})", todo)]
    if done.returncode:
        return [fail("runtime", f"LiteRT doesn't load: {done.stderr.strip().rpartition(chr(10))[2][:300]}", todo)]
    others = " (libedgetpu is installed; this agent doesn't use it)" if ctypes.util.find_library("edgetpu") else ""
    return [ok("runtime", f"LiteRT {done.stdout.strip()}, on the processor{others}")]
