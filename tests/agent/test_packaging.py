"""The agent is small, and instant to ask for help. That two wheels suffice is shown in tests/flow."""

import subprocess
import sys
import time


def test_help_starts_in_less_than_half_a_second():
    best = 10.0
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "litefleet_agent.main", "--help"], check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.monotonic() - began)
    assert best < 0.5


def test_command_line_imports_nothing_heavy_before_its_arguments_are_read():
    code = (
        "import sys, litefleet_agent.main as m; m._parser();"
        "print([n for n in ('numpy', 'paho', 'ai_edge_litert', 'cryptography', 'PIL', 'msgspec') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_running_agent_never_imports_cryptography_or_pillow():
    code = (
        "import sys, litefleet_agent.compose, litefleet_agent.embed;"
        "print([n for n in ('cryptography', 'PIL', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
