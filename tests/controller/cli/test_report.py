"""`litefleet model report`: a table, and a page that needs nothing but itself."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.artifacts.examination import Examination, LayerError, Pair, encode
from litefleet_controller.cli.report.axes import ticks
from litefleet_controller.cli.report.page import page
from litefleet_controller.cli.report.plots import layer_bars
from litefleet_controller.cli.report.scatter import front_of
from litefleet_controller.resources.meta import API_VERSION
from litefleet_controller.telemetry.rows import insert_windows, row_of
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.messages import TelemetryWindow
from tests.controller.cli.conftest import Shell

DIGEST = "sha256:" + "a" * 64
EXAMINATION = Examination(
    samples=100, classes=3, disagreements=5, agreed=(40, 30, 25), pairs=(Pair(0, 2, 4), Pair(1, 0, 1)),
    confidence=(0,) * 18 + (20, 80), source_confidence=(0,) * 19 + (100,),
    layers=(
        LayerError("stem", "CONV_2D", "int8", 0.01), LayerError("middle", "DEPTHWISE_CONV_2D", "int8", 0.4),
        LayerError("head", "FULLY_CONNECTED", "float32", 0.41),
    ),
    layer_samples=8,
)  # fmt: skip


def candidate(recipe: str, verdict: str, **more: Any) -> dict[str, Any]:
    made = {"digest": DIGEST, "sizeBytes": 1000, "agreement": 0.95, "accuracy": 0.9, "activationBytes": 64}
    return {"recipe": recipe, "verdict": verdict, "why": f"why of {recipe}", "code": "", **made, **more}


CANDIDATES = [
    candidate("float32", "Dominated", sizeBytes=4000, accuracy=0.91),
    candidate("int8", "Picked", hint={"p50Ms": 0.5, "p99Ms": 1.0, "inferences": 100, "processor": "Xeon (x86_64)"}),
    candidate("mixed-int8", "Duplicate"),
    {"recipe": "int8-float", "verdict": "Refused", "why": "no calibration", "code": "CalibrationMissing"},
]
CHOICE = {"objective": "size", "reason": "int8 is the smallest", "latencyFrom": "Nowhere", "others": ["float32"]}


def status(examination: str) -> dict[str, Any]:
    entry = {
        "deviceClass": "pi", "state": "Ready", "choice": CHOICE,
        "candidates": [{**c, **({"examination": examination} if "digest" in c else {})} for c in CANDIDATES],
        "variant": {
            "recipe": "int8", "artifact": DIGEST, "digest": DIGEST, "sizeBytes": 1000, "agreement": 0.95,
            "accuracy": 0.9, "sourceAccuracy": 0.92, "notes": ["every layer is in int8"],
        },
    }  # fmt: skip
    refused = {"deviceClass": "coral", "state": "Refused", "code": "ParityFailed", "message": "int8 agrees on 31%"}
    return {"phase": "PartlyRefused", "message": "refused for coral", "classes": [entry, refused]}


@pytest.fixture
def pets(shell: Shell) -> str:
    """Two versions of a model, the first of them converted; the digest of its variants' examination."""
    kept = shell.controller.run(shell.controller.blobs.put(encode(EXAMINATION)))
    uri = {"uri": f"blob://{DIGEST}"}
    spec = {"source": uri, "evaluation": uri, "output": {"labels": ["cat", "dog", "<b>&owl"]}, "modelRef": "pets"}
    for number in (1, 2):
        metadata = {"name": f"pets-v{number}", "namespace": shell.namespace}
        body = {
            "apiVersion": API_VERSION,
            "kind": "ModelVersion",
            "metadata": metadata,
            "spec": spec | {"version": number},
        }
        shell.controller.run(shell.controller.objects.create(body))
    shell.set_status("ModelVersion", "pets-v1", status(kept))
    return kept


class Page(HTMLParser):
    """Elements that are open, ids, text; what would be fetched."""

    VOID = {"meta", "br", "hr", "img", "link", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.unnamed_pictures = 0
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "action", "data", "poster")]
        self.unnamed_pictures += tag == "svg" and not given.get("aria-label")
        if given.get("id"):
            assert given["id"] not in self.ids
            self.ids.add(given["id"] or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_table_has_every_candidate_with_the_picked_one_first_and_the_reason(shell: Shell, pets: str) -> None:
    said = shell.ok("model", "report", "pets:1").splitlines()
    assert said[0] == "pets version 1 (pets-v1): PartlyRefused"
    assert "pi: int8, for size: int8 is the smallest" in said
    rows = [
        line.removeprefix("*").split()[0] for line in said if " KiB " in line or " B " in line or "Calibration" in line
    ]
    assert rows == ["int8", "float32", "mixed-int8", "int8-float"]
    assert "coral: Refused: ParityFailed: int8 agrees on 31%" in said


def test_the_newest_version_is_meant_when_none_is_named(shell: Shell, pets: str) -> None:
    assert shell.ok("model", "report", "pets").startswith("pets version 2 (pets-v2): Pending")
    for name in ("pets:1", "pets:v1", "pets:pets-v1"):
        assert shell.ok("model", "report", name).startswith("pets version 1 ")


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("pets:7", 1, "the model 'pets' has no version '7'"),
        ("cats", 1, "there is no model 'cats'"),
        ("pets:", 2, "name a model, or a model and its version as pets:3"),
    ],
)
def test_what_is_not_there_is_one_error_with_what_there_is(
    shell: Shell, pets: str, name: str, code: int, says: str
) -> None:
    assert says in shell.refused("model", "report", name, code=code)


def test_the_page_is_whole_fetches_nothing_and_says_in_words_what_it_draws(
    shell: Shell, pets: str, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    assert "written to" in shell("model", "report", "pets:1", "--out", out).err
    text = out.read_text(encoding="utf-8")
    read = Page(text)
    assert read.open == []
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.links)
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text
    assert read.tags.count("svg") == 4  # scatter, confidence, confusion, layers
    assert read.unnamed_pictures == 0
    words = " ".join(read.text.split())
    assert "int8, for size: int8 is the smallest." in words
    assert (
        "Answers as the source on 95 of 100 samples (95.00%). Most often apart: <b>&owl where the source says cat, 4 times."
        in words
    )
    assert "At least 95% sure of 80.0% of the samples, the source of 100.0%." in words
    assert "It grows most at layer 2, DEPTHWISE_CONV_2D middle: from 1% to 40%." in words
    assert "1 of 3 layers give float32" in words
    assert "Refused: ParityFailed int8 agrees on 31%" in words
    assert "<b>" not in text.replace("<body>", "")


def test_a_page_that_can_not_be_written_is_one_error(shell: Shell, pets: str, tmp_path: Path) -> None:
    done = shell("model", "report", "pets:1", "--out", tmp_path / "nowhere" / "report.html")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "can't be written: No such file or directory" in done.err


def test_json_is_what_the_page_is_drawn_from(shell: Shell, pets: str) -> None:
    report = json.loads(shell.ok("model", "report", "pets:1", "-o", "json"))
    (kept,) = report["examinations"].values()
    assert kept["pairs"][0] == {"source": 0, "variant": 2, "count": 4}
    assert report["classes"][0]["measured"] is None
    assert page(report) == page(json.loads(json.dumps(report)))


def test_a_model_that_is_no_classifier_has_its_numbers_drawn_instead(shell: Shell, pets: str) -> None:
    report = json.loads(shell.ok("model", "report", "pets:1", "-o", "json"))
    values = {"output": "boxes", "low": 0.0, "high": 200.0, "variant": [2] * 20, "source": [1] * 10 + [3] * 10}
    for kept in report["examinations"].values():
        kept |= {"classes": 0, "pairs": [], "agreed": [], "confidence": [], "sourceConfidence": [], "values": [values]}
    for c in report["classes"][0]["candidates"]:
        c["accuracy"] = None
    report["classes"][0]["sourceAccuracy"] = None
    words = " ".join(Page(page(report)).text.split())
    assert "Size against agreement. A star" in words
    assert "From 0 to 200 with the source; 25.00% of the variant's would have to move to another bar" in words
    assert "Against the source" not in words


def test_what_boards_measured_since_is_said_with_what_it_changes(shell: Shell, pets: str) -> None:
    latency = HistogramBuilder()
    for _ in range(200):
        latency.add(12.5)
    window = TelemetryWindow(
        boot_id="b", sequence=1, slot="pets", artifact=DIGEST, version="pets-v1", started=0.0, seconds=60.0, count=200,
        errors=0, dropped=0, latency_ms=latency.freeze(), confidence=latency.freeze(), classes={}, rss_bytes=None,
        temperature_c=None, longest_gap_ms=1.0,
    )  # fmt: skip
    row = row_of(
        window, device="pi-1", namespace=shell.namespace, device_class="pi", rollout=None,
        received_at=datetime.now(UTC), clock_untrusted=False,
    )  # fmt: skip

    async def store() -> None:
        async with shell.controller.database.writing() as session:
            await insert_windows(session, [row])

    shell.controller.run(store())
    said = "200 times since (1 board): median 12."
    assert f"boards have run this version {said}" in shell.ok("model", "report", "pets:1")
    report = json.loads(shell.ok("model", "report", "pets:1", "-o", "json"))
    words = " ".join(Page(page(report)).text.split())
    assert f"Boards have run this version {said}" in words
    assert "the next version's choice takes that into account, this one's stays." in words


def test_a_version_whose_examinations_are_gone_still_has_its_figures(shell: Shell, pets: str) -> None:
    shell.controller.run(shell.controller.blobs.delete(pets))
    report = json.loads(shell.ok("model", "report", "pets:1", "-o", "json"))
    assert report["examinations"] == {}
    read = Page(page(report))
    assert read.tags.count("svg") == 1
    assert "answers" not in read.ids


def test_the_front_of_two_figures_leaves_out_what_is_refused_or_beaten_in_both() -> None:
    better = candidate("b", "Front", sizeBytes=2000, accuracy=0.95)
    beaten = candidate("c", "Front", sizeBytes=3000, accuracy=0.94)
    refused = candidate("d", "Refused", sizeBytes=10, accuracy=0.99)
    assert [c["recipe"] for c in front_of([beaten, better, refused, candidate("a", "Picked")])] == ["a", "b"]


def test_ticks_are_round_and_within_the_axis() -> None:
    found = ticks(0.0, 187.0, lambda v: f"{v:g}")
    assert [text for _, text in found] == ["0", "50", "100", "150"]
    assert all(0 <= share <= 1 for share, _ in found)
    assert ticks(3.0, 3.0, str) == [(0.5, "3.0")]


def test_hundreds_of_layers_fit_into_one_picture() -> None:
    layers = [{"name": f"l{i}", "operator": "CONV_2D", "dtype": "int8", "error": 0.0} for i in range(400)]
    drawn = layer_bars("int8", layers)
    assert len([e for e in drawn if (e.get("class") or "").startswith("bar")]) == 400


def test_a_file_that_was_compiled_elsewhere_has_no_figures_and_says_why(
    shell: Shell, pets: str, tmp_path: Path
) -> None:
    target = {
        "name": "edgetpu",
        "state": "Available",
        "prebuilt": {"programs": 1, "programBytes": 9, "runtimeVersion": 14},
    }
    variant = {"recipe": "prebuilt", "artifact": DIGEST, "digest": DIGEST, "sizeBytes": 9, "target": target}
    entry = {"deviceClass": "coral", "state": "Ready", "variant": variant}
    shell.set_status("ModelVersion", "pets-v2", {"phase": "Ready", "classes": [entry]})
    said = shell.ok("model", "report", "pets:2")
    assert "coral: prebuilt, compiled elsewhere and not run by the controller: boards check it" in said
    page = tmp_path / "page.html"
    shell.ok("model", "report", "pets:2", "--out", str(page))
    assert "compiled elsewhere and not run by the controller" in Page(page.read_text()).text
