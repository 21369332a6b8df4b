"""Which engines are there, told without importing any."""

import subprocess
import sys

import pytest

from litefleet_agent.errors import AgentError
from litefleet_agent.runtime.installed import check_installed, versions


def test_releases_are_read_off_the_metadatas_folders(tmp_path):
    for name in (
        "openvino-2026.4.1.dist-info",
        "openvino_telemetry-2025.2.0.dist-info",
        "onnxruntime_gpu-1.22.0.dist-info",
        "tflite_runtime-2.14.0.dist-info",
        "numpy",
    ):
        (tmp_path / name).mkdir()
    assert versions([str(tmp_path / "not-there"), str(tmp_path)]) == {
        "litert": "tflite-runtime 2.14.0",
        "openvino": "2026.4.1",
        "onnxruntime": "1.22.0",
    }


def test_of_two_interpreters_the_newer_one_is_meant(tmp_path):
    for name in ("tflite_runtime-2.14.0.dist-info", "ai_edge_litert-2.3.0.dist-info"):
        (tmp_path / name).mkdir()
    assert versions([str(tmp_path)]) == {"litert": "2.3.0"}


def test_a_runtime_that_this_agent_does_not_know_is_missing():
    with pytest.raises(AgentError, match="litert, openvino, onnxruntime: update it") as caught:
        check_installed("tensorrt")
    assert caught.value.code == "RuntimeMissing"


def test_an_engine_that_is_not_installed_is_named_with_what_to_install(tmp_path):
    """In a Python that has the agent and nothing else."""
    for package in ("litefleet_agent", "litefleet_protocol", "msgspec"):
        (tmp_path / package).symlink_to(__import__(package).__path__[0])
    code = (
        "from litefleet_agent.runtime.installed import check_installed, versions\n"
        "print(versions())\n"
        "for name in ('litert', 'openvino', 'onnxruntime'):\n"
        "    try: check_installed(name)\n"
        "    except Exception as e: print(e.code, e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    none, *said = done.stdout.splitlines()
    assert none == "{}"
    assert [line.split()[0] for line in said] == ["RuntimeMissing"] * 3
    assert "pip install ai-edge-litert" in said[0]
    assert "pip install 'litefleet-agent[openvino]'" in said[1]
    assert "pip install 'litefleet-agent[onnx]'" in said[2]


def test_an_agent_imports_no_engine_before_a_model_needs_it():
    code = (
        "import sys, litefleet_agent.compose, litefleet_agent.embed;"
        "print([n for n in ('ai_edge_litert', 'tflite_runtime', 'openvino', 'onnxruntime', 'importlib.metadata') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_openvinos_converter_and_its_telemetry_are_not_loaded_on_boards_and_can_be_by_others():
    code = (
        "import sys; from litefleet_agent.runtime.engines import runtime; runtime('openvino');"
        "print([n for n in sys.modules if 'telemetry' in n or 'ovc' in n]);"
        "from openvino.tools.ovc import convert_model"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
