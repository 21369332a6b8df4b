"""The demo, as its users run it: nothing lost, nothing answered wrongly, both bad versions caught."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEMO = [sys.executable, "-m", "litefleet_controller.cli", "demo", "--json"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory: Path = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*DEMO, "--dir", str(directory / "files")], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(700)]


def test_nine_boards_in_three_classes_served_all_the_time(result: dict[str, Any]) -> None:
    devices = result["devices"]
    assert len(devices) == 9
    assert len({d["class"] for d in devices}) == 3
    assert all(d["inferences"] > 500 for d in devices)
    assert {d["state"] for d in devices} == {"Updated"}


def test_no_inference_is_lost_or_answered_wrongly(result: dict[str, Any]) -> None:
    assert sum(d["lost"] for d in result["devices"]) == 0
    assert sum(d["wrong"] for d in result["devices"]) == 0


def test_every_board_serves_a_proven_variant(result: dict[str, Any]) -> None:
    for device in result["devices"]:
        assert device["agreement"] >= 0.97
        assert 0 < device["bytes"] < 1_000_000


def test_the_wrongly_scaled_calibration_is_refused_with_its_numbers(result: dict[str, Any]) -> None:
    refusals = [r for r in result["refusals"] if r["modelVersion"] == "digits-v3"]
    assert {r["class"] for r in refusals} == {d["class"] for d in result["devices"]}
    assert {r["code"] for r in refusals} == {"ParityFailed"}
    assert all("400 samples" in r["message"] for r in refusals)


def test_the_int8_only_class_stays_on_v2_and_the_others_take_their_next_rung(result: dict[str, Any]) -> None:
    by_class = {d["class"]: d for d in result["devices"]}
    assert (by_class["camera-int8"]["version"], by_class["camera-int8"]["variant"]) == ("digits-v2", "int8")
    assert (by_class["raspberry-pi-4"]["version"], by_class["raspberry-pi-4"]["variant"]) == ("digits-v3", "float16")
    assert (by_class["gateway-x86"]["version"], by_class["gateway-x86"]["variant"]) == ("digits-v3", "dynamic-int8")


def test_the_inverted_model_is_taken_back_in_every_class(result: dict[str, Any]) -> None:
    assert {r["class"] for r in result["rollbacks"]} == {d["class"] for d in result["devices"]}
    assert {r["cause"] for r in result["rollbacks"]} <= {"ConfidenceDrift", "ClassMixDrift"}
    assert all("canary" in r["message"] and "control" in r["message"] for r in result["rollbacks"])


def test_it_ends_in_time(result: dict[str, Any]) -> None:
    assert result["seconds"] < 360
