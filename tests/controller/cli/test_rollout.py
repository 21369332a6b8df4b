import threading
import time
from pathlib import Path

import pytest

from litefleet_controller.identity.roles import Role
from litefleet_controller.store.interface import Key
from tests.controller.cli.conftest import ROLLOUT, Controller, Shell, clock, eventually, manifest
from tests.controller.cli.test_get import running

STEPS = ROLLOUT.replace("[{setWeight: 5}]", "[{setWeight: 5}, {pause: {}}, {setWeight: 50}]")


@pytest.fixture
def declared(shell: Shell) -> Shell:
    """A shell with the rollout line-a of digits."""
    shell.ok("apply", "-f", "-", stdin=STEPS.encode())
    return shell


def settle(shell: Shell, phase: str, message: str = "", **more: object) -> None:
    generation = shell.object("ModelRollout", "line-a")["metadata"]["generation"]
    status = {"phase": phase, "message": message, "observedGeneration": generation, **more}
    shell.set_status("ModelRollout", "line-a", status)


def answer_requests(shell: Shell, outcome: str) -> threading.Thread:
    """A reconciler that answers the next request, as the real one does."""

    def answer() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            request = shell.object("ModelRollout", "line-a")["metadata"]["annotations"].get("litefleet.dev/request")
            if request:
                verb, name = request.split()
                record = {"verb": verb, "id": name, "at": "2026-01-01T00:00:00Z", "outcome": outcome}
                shell.set_status("ModelRollout", "line-a", {"lastRequest": record})
                return
            time.sleep(0.02)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.parametrize("verb", ["promote", "abort", "retry"])
def test_a_verb_prints_what_the_controller_made_of_it(declared: Shell, verb: str) -> None:
    thread = answer_requests(declared, "goes on with step 3")
    assert declared.ok("rollout", verb, "line-a") == f"{verb} of rollout 'line-a' is requested: goes on with step 3\n"
    thread.join()
    assert declared.object("ModelRollout", "line-a")["metadata"]["annotations"]["litefleet.dev/requested-by"] == "ada"


def test_a_verb_ends_without_an_answer_too(declared: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.cli.rollouts._ANSWER_S", 0.1)
    assert declared.ok("rollout", "promote", "line-a") == "promote of rollout 'line-a' is requested\n"


def test_pause_and_resume(declared: Shell) -> None:
    assert "is paused" in declared.ok("rollout", "pause", "line-a")
    assert declared.object("ModelRollout", "line-a")["spec"]["paused"] is True
    assert "goes on" in declared.ok("rollout", "resume", "line-a")
    assert declared.object("ModelRollout", "line-a")["spec"]["paused"] is False


def test_undo_takes_the_version_that_completed_before(declared: Shell) -> None:
    uri = "blob://sha256:" + "0" * 64
    spec = f"modelRef: digits\nversion: 1\nsource: {{uri: '{uri}'}}\nevaluation: {{uri: '{uri}'}}"
    declared.ok("apply", "-f", "-", stdin=manifest("ModelVersion", "digits-v1", spec).encode())
    done = {"version": "digits-v1", "deviceClass": "rpi-4", "outcome": "Complete", "finishedAt": "2026-01-01T00:00:00Z"}
    settle(declared, "Healthy", targetVersion="digits-v2", history=[done])
    assert "goes to digits-v1" in declared.ok("rollout", "undo", "line-a")
    assert declared.object("ModelRollout", "line-a")["spec"]["modelRef"]["version"] == "digits-v1"


def test_undo_without_an_earlier_version_says_what_to_do(declared: Shell) -> None:
    error = declared.refused("rollout", "undo", "line-a")
    assert "--to-version" in error
    assert "(NoEarlierVersion)" in error


def test_undo_to_a_version_that_is_not_there(declared: Shell) -> None:
    assert "(NotFound)" in declared.refused("rollout", "undo", "line-a", "--to-version", "7")


@pytest.mark.parametrize("command", ["status", "history", "promote", "pause", "undo"])
def test_a_rollout_that_is_not_there(shell: Shell, command: str) -> None:
    error = shell.refused("rollout", command, "nope")
    assert 'modelrollouts.litefleet.dev "nope" not found (NotFound)' in error


def test_status_shows_steps_classes_and_boards(declared: Shell) -> None:
    classes = [{"deviceClass": "rpi-4", "state": "Progressing", "counts": {"total": 3, "updated": 1, "failed": 1}}]
    settle(declared, "Paused", "waits for someone to promote", currentStepIndex=1, pauseReason="Step", classes=classes)
    device = manifest("Device", "pi-1", "class: rpi-4").encode()
    declared.ok("apply", "-f", "-", stdin=device)
    slot = {"slot": "digits", "phase": "Failed", "code": "TooSlow", "message": "120 ms, 100 are allowed"}
    declared.set_status("Device", "pi-1", {"connection": "Online", "slots": [slot]})
    out = declared.ok("rollout", "status", "line-a")
    assert "Phase:    Paused (Step)" in out
    assert "Message:  waits for someone to promote" in out
    assert [line for line in out.splitlines() if line.startswith("  [")] == [
        "  [x] 1. 5% of each class",
        "  [>] 2. pause until promoted",
        "  [ ] 3. 50% of each class",
    ]
    assert "1/3 updated, 1 failed" in out
    assert "TooSlow: 120 ms, 100 are allowed" in out


def test_status_of_a_new_rollout(declared: Shell) -> None:
    assert "Phase:    Pending" in declared.ok("rollout", "status", "line-a")


def test_waiting_ends_well_when_it_is_healthy(declared: Shell) -> None:
    settle(declared, "Healthy")
    assert "Healthy" in declared.ok("rollout", "status", "line-a", "--wait")


def test_waiting_ends_badly_when_it_is_degraded(declared: Shell) -> None:
    settle(declared, "Degraded", "rpi-4: confidence 0.58 against 0.96")
    result = declared("rollout", "status", "line-a", "--wait")
    assert result.code == 1
    assert "confidence 0.58 against 0.96 (Degraded)" in result.err


def test_waiting_gives_up_in_time(declared: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.cli.rollouts._LOOK_S", 0.02)
    settle(declared, "Progressing", "waits for 2 boards")
    result = declared("rollout", "status", "line-a", "--wait", "--timeout", "0")
    assert result.code == 1
    assert "waits for 2 boards (Timeout)" in result.err


def test_an_old_end_is_not_taken_for_the_new_one(declared: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.cli.rollouts._LOOK_S", 0.02)
    settle(declared, "Healthy")
    declared.ok("rollout", "pause", "line-a")
    assert "(Timeout)" in declared("rollout", "status", "line-a", "--wait", "--timeout", "0").err


def test_history_is_a_table(declared: Shell) -> None:
    done = {
        "version": "digits-v1", "deviceClass": "rpi-4", "outcome": "Aborted", "cause": "Latency", "message": "twice as slow",
        "finishedAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    settle(declared, "Degraded", history=[done])
    header, row = declared.ok("rollout", "history", "line-a").splitlines()
    assert header.split() == ["VERSION", "CLASS", "OUTCOME", "AGO", "MESSAGE"]
    assert row.endswith("Latency: twice as slow")


def test_watching_prints_a_line_for_each_change(declared: Shell) -> None:
    with running(declared, "rollout", "watch", "line-a") as lines:
        eventually(lambda: lines == ["Pending: \n"])
        settle(declared, "Progressing", "waits for 2 boards")
        eventually(lambda: lines[1:] == ["Progressing: waits for 2 boards\n"])


def test_watching_outlives_a_restart_of_the_controller(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = Controller(tmp_path / "own")
    try:
        shell = Shell(own, "default", own.kubeconfig(tmp_path / "kubeconfig", "default"), tmp_path)
        shell.ok("apply", "-f", "-", stdin=STEPS.encode())
        with running(shell, "rollout", "watch", "line-a") as lines:
            eventually(lambda: lines == ["Pending: \n"])
            own.close_door()
            assert "(Unreachable)" in shell.refused("rollout", "status", "line-a")
            settle(shell, "Progressing", "waits for 2 boards")
            own.open_door()
            eventually(lambda: lines[1:] == ["Progressing: waits for 2 boards\n"])
    finally:
        own.stop()


def test_a_viewer_may_look_and_not_promote(declared: Shell) -> None:
    tokens = declared.controller.tokens
    viewer = declared.controller.run(tokens.create("eve", Role.VIEWER, declared.namespace, None, clock()))
    declared.controller.kubeconfig(declared.kubeconfig, declared.namespace, viewer)
    declared.ok("rollout", "status", "line-a")
    assert "(Forbidden)" in declared.refused("rollout", "promote", "line-a")
    record = declared.controller.run(declared.controller.objects.get(Key("ModelRollout", declared.namespace, "line-a")))
    assert "litefleet.dev/request" not in record.json()["metadata"]["annotations"]
