"""The examples, and a few hard knocks, on one fleet of real processes. Each test leaves the fleet healthy for the next.

The numbered examples are applied as they ship, with the URIs of really trained models in place of the zeros.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from litefleet_controller.cli.demo.digits import DataSets, write_data_sets
from tests.flow.fleet import Fleet, fleet, train

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(300)]

MANIFESTS = Path(__file__).parents[2] / "manifests"
LINE_A = ("a-pi-1", "a-pi-2", "a-pi-3")
LINE_B = ("b-zero-1", "b-zero-2")
LINE_C = ("c-gw-1",)
BOARDS = {
    **dict.fromkeys(LINE_A, ("raspberry-pi-4", "line-a")),
    **dict.fromkeys(LINE_B, ("raspberry-pi-zero-2", "line-b")),
    **dict.fromkeys(LINE_C, ("generic-x86-gateway", "line-c")),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSets:
    return write_data_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, data: DataSets) -> dict[str, Path]:
    return train(tmp_path_factory.mktemp("models"), data, ["one", "two", "three", "four", "five"])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, data: DataSets) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        running.cli("apply", "-f", str(MANIFESTS / "classes"))
        for name, (device_class, site) in BOARDS.items():
            running.enroll(name, device_class, site)
            running.run_board(name, data.live)
        yield running


def example(name: str, running: Fleet, **uris: str) -> Path:
    """An example as it ships, but with real URIs."""
    documents = list(yaml.safe_load_all((MANIFESTS / "examples" / name).read_text()))
    for document in documents:
        if document["kind"] == "Model":
            for part, uri in uris.items():
                document["spec"][part]["uri"] = uri
    path = running.directory / name
    path.write_text(yaml.safe_dump_all(documents))
    return path


def release(running: Fleet, model: Path) -> str:
    """Declare another model file; the name of the version that it becomes."""
    before = running.status("models", "digits")["latestVersion"]["number"]
    running.change("models", "digits", {"source": {"uri": running.push(model)}})
    running.wait("a new version", lambda: running.status("models", "digits")["latestVersion"]["number"] == before + 1)
    return f"digits-v{before + 1}"


def serves(running: Fleet, version: str, names: tuple[str, ...]) -> bool:
    slots = [running.slot(n) for n in names]
    return all(s.get("currentVersion") == version and s.get("phase") == "Updated" for s in slots)


def assert_nothing_lost(running: Fleet, names: tuple[str, ...]) -> None:
    for name in names:
        numbers = [row["seq"] for row in running.answers(name)]
        assert numbers, name
        assert numbers == list(range(len(numbers))), name
        assert not [row for row in running.answers(name) if "error" in row], name


def test_example_01_the_first_model_reaches_its_boards(line: Fleet, data: DataSets, models: dict[str, Path]) -> None:
    uris = {
        "source": line.push(models["one"]), "evaluation": line.push(data.evaluation),
        "calibration": line.push(data.calibration),
    }  # fmt: skip
    line.cli("apply", "-f", str(example("01-first-model.yaml", line, **uris)))
    line.wait("digits-v1 on line a", lambda: line.status("modelrollouts", "digits").get("phase") == "Healthy")
    assert serves(line, "digits-v1", LINE_A)
    assert line.slot(LINE_B[0]) == {}, "a board that isn't selected gets nothing"
    assert "Healthy" in line.cli("get", "rollout", "digits")
    assert "agrees with the source" in line.cli("describe", "modelversion", "digits-v1")


def test_example_02_two_rollouts_that_claim_one_slot_conflict_and_the_younger_waits(line: Fleet) -> None:
    line.cli("apply", "-f", str(example("02-canary-with-analysis.yaml", line)))
    line.wait("the conflict", lambda: "digits" in line.status("modelrollouts", "digits-line-a").get("message", ""))
    conditions = {c["type"]: c for c in line.status("modelrollouts", "digits-line-a")["conditions"]}
    assert conditions["Conflict"]["status"] == "True"
    line.cli("delete", "modelrollout", "digits")
    line.wait(
        "the younger to take over", lambda: line.status("modelrollouts", "digits-line-a").get("phase") == "Healthy"
    )


def test_example_02_a_canary_is_judged_and_then_waits(line: Fleet, models: dict[str, Path]) -> None:
    version = release(line, models["two"])

    def message() -> str:
        return str(line.status("modelrollouts", "digits-line-a").get("message", ""))

    line.wait("the pause after the analysis", lambda: "pause until" in message(), 180)
    status = line.status("modelrollouts", "digits-line-a")
    assert status["phase"] == "Paused"
    # The background analysis may have looked since, with fewer samples; the step's verdict let it come this far.
    assert not [r for r in status["analysis"]["results"] if r["verdict"] == "Failed"]
    on_canary = [n for n in LINE_A if line.slot(n).get("currentVersion") == version]
    assert len(on_canary) == 1, "5% and 25% of three boards are one board"
    line.cli("rollout", "promote", "digits-line-a")
    line.wait("the rest", lambda: line.status("modelrollouts", "digits-line-a").get("phase") == "Healthy")
    assert serves(line, version, LINE_A)
    assert_nothing_lost(line, LINE_A)


def test_example_03_waits_until_somebody_promotes(line: Fleet) -> None:
    line.cli("apply", "-f", str(example("03-pause-until-promoted.yaml", line)))
    line.wait(
        "the open pause",
        lambda: "until someone promotes" in line.status("modelrollouts", "digits-careful").get("message", ""),
    )
    assert len([n for n in LINE_B if line.slot(n)]) == 1
    line.cli("rollout", "promote", "digits-careful")
    line.wait("half", lambda: "pause until" in line.status("modelrollouts", "digits-careful").get("message", ""))
    line.cli("rollout", "promote", "digits-careful")
    line.wait("all", lambda: line.status("modelrollouts", "digits-careful").get("phase") == "Healthy")
    assert serves(line, "digits-v2", LINE_B)


def test_example_04_a_pinned_version_stays(line: Fleet) -> None:
    elsewhere = {"modelRef": {"name": "other"}, "selector": {"matchLabels": {"site": "nowhere"}}}
    line.create("modelrollouts", "ModelRollout", "quick", elsewhere)
    document = yaml.safe_load((MANIFESTS / "examples" / "04-pinned-version.yaml").read_text())
    document["spec"]["probationSeconds"] = 2  # as it ships it watches for a minute
    path = line.directory / "04.yaml"
    path.write_text(yaml.safe_dump(document))
    line.cli("apply", "-f", str(path))
    line.wait("digits-v1 on line c", lambda: serves(line, "digits-v1", LINE_C))
    line.wait("what the other waits for", lambda: line.status("modelrollouts", "quick").get("message"))
    assert "other" in line.status("modelrollouts", "quick")["message"], "a model that doesn't exist is named"
    line.cli("delete", "modelrollout", "quick")
    line.cli("delete", "modelrollout", "digits-careful")


def quick_rollout(running: Fleet) -> None:
    """Line A by a rollout without analysis, for the knocks below."""
    running.cli("delete", "modelrollout", "digits-line-a", "--ignore-not-found")
    running.create(
        "modelrollouts",
        "ModelRollout",
        "knocks",
        {
            "modelRef": {"name": "digits"}, "selector": {"matchLabels": {"site": "line-a"}}, "probationSeconds": 2,
            "strategy": {"canary": {"steps": [{"setWeight": 30}], "maxUnavailable": 1}},
        },
    )  # fmt: skip
    running.wait("the rollout", lambda: running.status("modelrollouts", "knocks").get("phase") == "Healthy")


def test_a_controller_killed_in_mid_rollout_goes_on_where_it_was(line: Fleet, models: dict[str, Path]) -> None:
    quick_rollout(line)
    version = release(line, models["three"])
    line.wait("the first board", lambda: any(line.slot(n).get("desiredVersion") == version for n in LINE_A)
              or any(line.slot(n).get("currentVersion") == version for n in LINE_A))  # fmt: skip
    line.kill_controller()
    line.up()
    line.wait("the rest", lambda: line.status("modelrollouts", "knocks").get("phase") == "Healthy"
              and serves(line, version, LINE_A))  # fmt: skip
    assert_nothing_lost(line, LINE_A)


def test_a_broker_that_lost_everything_is_filled_again(line: Fleet, models: dict[str, Path]) -> None:
    assert line.controller is not None
    (broker,) = [
        c for c in psutil.Process(line.controller.process.pid).children(recursive=True) if "mosquitto" in c.name()
    ]
    os.kill(broker.pid, signal.SIGKILL)
    (line.data / "broker" / "mosquitto.db").unlink(missing_ok=True)
    version = release(line, models["four"])
    line.wait("the new version", lambda: serves(line, version, LINE_A))
    assert_nothing_lost(line, LINE_A)


def test_an_offline_board_never_blocks_the_others(line: Fleet, models: dict[str, Path], data: DataSets) -> None:
    absent, *present = LINE_A
    line.change("modelrollouts", "knocks", {"deviceTimeoutSeconds": 5})
    line.kill_board(absent)
    line.wait("its will", lambda: line.status("devices", absent).get("connection") == "Offline")
    version = release(line, models["five"])
    line.wait("the others", lambda: serves(line, version, tuple(present)))
    line.wait("healthy without it", lambda: line.status("modelrollouts", "knocks").get("phase") == "Healthy")
    (entry,) = line.status("modelrollouts", "knocks")["classes"]
    assert entry["counts"]["timedOut"] == 1
    shutil.move(line.directory / "boards" / absent / "answers.jsonl", line.directory / "answers-before.jsonl")
    line.run_board(absent, data.live)
    line.wait("it to join when it comes back", lambda: serves(line, version, (absent,)))


def test_undo_goes_back_to_the_version_before(line: Fleet) -> None:
    line.cli("rollout", "undo", "knocks")
    line.wait("the version before", lambda: serves(line, "digits-v4", LINE_A))
    assert_nothing_lost(line, LINE_A)


def test_a_deleted_device_is_shut_out_at_once(line: Fleet) -> None:
    (gone,) = LINE_C
    line.cli("delete", "device", gone)
    log = line.directory / "boards" / gone / "agent.log"
    line.wait("its connection to end", lambda: "disconnected" in log.read_text(), 30)
    before = len(line.answers(gone))
    line.wait("it goes on serving all the same", lambda: len(line.answers(gone)) > before + 20, 30)
