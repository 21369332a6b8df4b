"""The agent as it is shipped: two wheels alone, small, and instant to ask for help."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "fastapi", "pydantic", "sqlmodel", "sqlalchemy", "litefleet_controller")


def uv() -> str:
    found = shutil.which("uv") or "/root/uvenv/bin/uv"
    if not Path(found).exists():
        pytest.fail("uv is needed: it is what 'make test' sets up first")
    return found


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


def test_two_wheels_alone_are_enough(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHONPATH"))}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
        return done.stdout

    wheels = tmp_path / "wheels"
    for package in ("protocol", "agent"):
        run(uv(), "build", "--wheel", "--quiet", "--out-dir", str(wheels), str(ROOT / package))
    run(uv(), "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    run(uv(), "pip", "install", "--quiet", "--python", python, *(str(p) for p in wheels.glob("*.whl")))
    assert "enroll" in run(str(tmp_path / "venv" / "bin" / "litefleet-agent"), "--help")
    find = f"import importlib.util as u; print([n for n in {HEAVY!r} if u.find_spec(n)])"
    assert run(python, "-c", find).strip() == "[]"
    assert "litefleet" in run(python, "-c", "import litefleet_agent.compose as c; print(c.__name__)")
