"""What a board did gets to whoever asks: a real controller, a real broker, real agents that are killed and cut off."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from litefleet_controller.cli.demo.processes import agent_command, controller_command
from tests.flow.fleet import Fleet, fleet

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("site")) as running:
        running.create("deviceclasses", "DeviceClass", "plain", {"variants": ["float32"]})
        yield running


def entries(site: Fleet, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.cli("logs", name, "--json").splitlines()]


def told(site: Fleet, name: str) -> list[str]:
    return [e["event"] for e in entries(site, name)]


def online(site: Fleet, name: str) -> None:
    """A board that has joined and whose beginning the controller has."""
    site.enroll(name, "plain", "here")
    site.run_board(name)
    site.wait("its log to arrive", lambda: "connected" in told(site, name))


def test_a_board_tells_from_its_enrollment_on(site: Fleet) -> None:
    online(site, "talker")
    assert told(site, "talker")[:3] == ["enrolled", "started", "connected"]
    first, second, *_ = entries(site, "talker")
    assert first["fields"]["device"] == "talker"
    assert first["bootId"] != second["bootId"]
    shown = site.cli("logs", "device/talker", "--tail", "1")
    assert shown.count("\n") == 1
    assert " INFO " in shown


def test_what_happened_offline_comes_later_and_once(site: Fleet) -> None:
    online(site, "wanderer")
    site.kill_controller()
    journal = site.directory / "boards" / "wanderer" / "journal" / "00000001.jsonl"
    for _ in range(3):
        before = journal.read_text().count('"started"')
        site.kill_board("wanderer")
        site.run_board("wanderer")
        site.wait("it to start", lambda before=before: journal.read_text().count('"started"') > before)  # type: ignore[misc]
    site.up()
    site.wait("all its starts", lambda: told(site, "wanderer").count("started") == 4)
    site.wait("that it is back", lambda: "connected" in told(site, "wanderer")[-3:])
    found = entries(site, "wanderer")
    assert len({(e["bootId"], e["sequence"]) for e in found}) == len(found)
    assert len({e["bootId"] for e in found if e["event"] == "started"}) == 4
    for boot in {e["bootId"] for e in found}:
        sequences = [e["sequence"] for e in found if e["bootId"] == boot]
        assert sequences == list(range(1, len(sequences) + 1))


def test_following_shows_what_happens_next(site: Fleet) -> None:
    online(site, "followed")
    command = controller_command("logs", "followed", "-f", "--kubeconfig", str(site.kubeconfig))
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        read_until(following, "connected")
        site.kill_board("followed")
        site.run_board("followed")
        read_until(following, "started")
        read_until(following, "connected")
    finally:
        following.kill()
        following.communicate()


def read_until(process: "subprocess.Popen[str]", event: str) -> None:
    """Read lines up to one that tells of `event`; the test's own limit ends the waiting."""
    assert process.stdout is not None
    while (line := process.stdout.readline()).split()[2:3] != [event]:
        assert line, f"it ended before {event}"


def test_a_log_goes_with_its_board(site: Fleet) -> None:
    online(site, "leaver")
    site.cli("delete", "device", "leaver")
    site.wait("the device to be gone", lambda: not site.get("devices", "leaver"))
    done = subprocess.run(
        controller_command("logs", "leaver", "--kubeconfig", str(site.kubeconfig)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "(NotFound)" in done.stderr


def doctor(site: Fleet, name: str) -> "subprocess.CompletedProcess[str]":
    command = agent_command("doctor", "--state-dir", str(site.directory / "boards" / name))
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_board_that_lost_its_place_is_told_so_by_the_doctor(site: Fleet) -> None:
    online(site, "patient")
    well = doctor(site, "patient")
    assert (well.returncode, "fail" in well.stdout) == (0, False), well.stdout
    site.kill_board("patient")
    site.cli("delete", "device", "patient")
    site.wait("the device to be gone", lambda: not site.get("devices", "patient"))
    site.wait("the doctor to see it", lambda: doctor(site, "patient").returncode == 1, 60)
    (line,) = [text for text in doctor(site, "patient").stdout.splitlines() if text.startswith("fail")]
    assert line.split()[1] == "broker"
    assert "has to enroll again" in line
