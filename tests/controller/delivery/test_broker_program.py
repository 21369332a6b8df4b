"""Where the broker is found, in made-up trees."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from litefleet_controller.delivery.broker_program import PLUGIN_FILE, BrokerMissingError, find_program

NO_CACHE = Path("/nonexistent")


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def plugin(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / PLUGIN_FILE).write_bytes(b"")
    return path / PLUGIN_FILE


def test_variables_come_first(tmp_path: Path) -> None:
    program, named = executable(tmp_path / "my mosquitto"), plugin(tmp_path / "p")
    environment = {"LITEFLEET_MOSQUITTO": str(program), "LITEFLEET_MOSQUITTO_DYNSEC": str(named)}
    found = find_program(environment, NO_CACHE)
    assert (found.executable, found.plugin) == (program, named)


def test_the_path_comes_next_with_the_plugin_of_the_same_prefix(tmp_path: Path) -> None:
    program, beside = executable(tmp_path / "sbin" / "mosquitto"), plugin(tmp_path / "lib")
    found = find_program({"PATH": str(tmp_path / "sbin")}, NO_CACHE)
    assert (found.executable, found.plugin) == (program, beside)


def test_of_several_processors_libraries_this_machines_is_taken(tmp_path: Path) -> None:
    program = executable(tmp_path / "sbin" / "mosquitto")
    mine = plugin(tmp_path / "lib" / f"{platform.machine()}-linux-gnu")
    plugin(tmp_path / "lib" / "a-foreign-one")
    assert find_program({"LITEFLEET_MOSQUITTO": str(program)}, NO_CACHE).plugin == mine


def test_an_unpacked_package_gets_its_libraries(tmp_path: Path) -> None:
    executable(tmp_path / "usr" / "sbin" / "mosquitto")
    beside = plugin(tmp_path / "usr" / "lib" / "x86_64-linux-gnu")
    (tmp_path / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    found = find_program({"LITEFLEET_MOSQUITTO": str(tmp_path / "usr" / "sbin" / "mosquitto")}, NO_CACHE)
    assert found.library_path == f"{beside.parent}:{tmp_path / 'lib' / 'x86_64-linux-gnu'}"


@pytest.mark.parametrize("name", ["LITEFLEET_MOSQUITTO", "LITEFLEET_MOSQUITTO_DYNSEC"])
def test_a_variable_that_names_nothing_is_a_clear_error(tmp_path: Path, name: str) -> None:
    program = executable(tmp_path / "mosquitto")
    environment = {"LITEFLEET_MOSQUITTO": str(program), name: str(tmp_path / "gone")}
    with pytest.raises(BrokerMissingError, match=f"{name} names {tmp_path}/gone"):
        find_program(environment, NO_CACHE)


def test_without_the_plugin_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    environment = {"LITEFLEET_MOSQUITTO": str(executable(tmp_path / "mosquitto"))}
    with pytest.raises(
        BrokerMissingError, match=f"has no {PLUGIN_FILE} beside it.*apt-get install mosquitto"
    ) as caught:
        find_program(environment, NO_CACHE)
    assert "\n" not in str(caught.value)


def test_the_script_says_nothing_where_the_broker_is_found(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "scripts" / "get-mosquitto"
    program = executable(tmp_path / "sbin" / "mosquitto")
    plugin(tmp_path / "lib" / "any-linux-gnu")
    environment = {"PATH": os.environ["PATH"], "LITEFLEET_MOSQUITTO": str(program)}
    done = subprocess.run([script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
