"""`litefleet model status`: how far a conversion is."""

from datetime import UTC, datetime, timedelta

import pytest

from litefleet_controller.cli.conversions import left, page
from tests.controller.cli.conftest import Shell, manifest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URI = "blob://sha256:" + "a" * 64
SPEC = f"source: {{uri: {URI}, format: keras}}\nevaluation: {{uri: {URI}}}\noutput: {{labels: [a, b]}}"


def entry(seconds: float | None, state: str = "Converting") -> dict[str, object]:
    ends = None if seconds is None else (NOW + timedelta(seconds=seconds)).isoformat()
    return {"deviceClass": "pi", "state": state, "stage": "freezing int8", "percent": 20, "estimatedCompletion": ends}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "unknown"), (40, "about 40 s"), (300, "about 5 min"), (-1, "longer than before")],
)
def test_the_time_left_is_said_in_words_and_not_guessed(seconds: float | None, said: str) -> None:
    assert left(entry(seconds), NOW) == said


def test_a_class_that_is_decided_has_no_time_left() -> None:
    assert left(entry(40, "Ready"), NOW) == ""


def test_a_page_has_a_line_for_each_class() -> None:
    ready = {"deviceClass": "cam", "state": "Ready", "variant": {"recipe": "int8"}}
    refused = {"deviceClass": "old", "state": "Refused", "code": "TooLarge"}
    status = {"phase": "Converting", "message": "converting for pi", "classes": [entry(40), ready, refused]}
    lines = page({"metadata": {"name": "digits-v1"}, "status": status}, NOW)
    assert [line.split() for line in lines[-3:]] == [
        ["pi", "Converting", "freezing", "int8", "20%", "about", "40", "s"],
        ["cam", "Ready", "int8"],
        ["old", "Refused", "TooLarge"],
    ]


def test_a_variant_that_measurement_picked_says_what_for() -> None:
    picked = {"deviceClass": "cam", "state": "Ready", "variant": {"recipe": "int8"}, "choice": {"objective": "size"}}
    lines = page({"metadata": {"name": "digits-v1"}, "status": {"classes": [picked]}}, NOW)
    assert lines[-1].endswith("int8, picked for size")


def test_a_model_is_asked_for_its_newest_version_and_watched_until_it_is_decided(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("model.yaml", manifest("Model", "digits", SPEC)))
    assert "no version was made yet" in shell.ok("model", "status", "digits")
    version = manifest("ModelVersion", "digits-v1", f"{SPEC}\nmodelRef: digits\nversion: 1")
    shell.ok("apply", "-f", shell.write("version.yaml", version))
    shell.set_status("Model", "digits", {"latestVersion": {"name": "digits-v1", "number": 1}})
    found = {"phase": "Ready", "message": "done", "classes": [{"deviceClass": "pi", "state": "Ready"}]}
    shell.set_status("ModelVersion", "digits-v1", found)
    assert "digits-v1" in shell.ok("model", "status", "digits", "--watch")
    assert shell.ok("model", "status", "digits-v1") == shell.ok("model", "status", "digits")


def test_watching_ends_with_an_error_where_no_class_has_a_variant(shell: Shell) -> None:
    version = manifest("ModelVersion", "digits-v1", f"{SPEC}\nmodelRef: digits\nversion: 1")
    shell.ok("apply", "-f", shell.write("version.yaml", version))
    shell.set_status("ModelVersion", "digits-v1", {"phase": "Refused", "message": "pi: TooLarge"})
    result = shell("model", "status", "digits-v1", "-w")
    assert (result.code, "pi: TooLarge (Refused)" in result.err) == (1, True)
    assert "(NotFound)" in shell.refused("model", "status", "nothing")
